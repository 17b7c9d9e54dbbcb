"""Setting up a Prefect server: a work pool, every job as a deployment, limits and automations.

The jobs are those of `flows.job_table`; all else is in the YAML files of the package ``deployments``. Doing it again
changes only what has changed there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from flows.job_table import JOBS, Job, load
from mmer_core.config import NightlyJob, RuntimeConfig
from mmer_core.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """What to set up.

    Attributes:
        runtime: Where runs keep their artifacts; folders become absolute, as a worker has another working directory.
        pool: Name of the work pool.
        kind: How runs are executed: as processes, docker containers or kubernetes jobs.
        gpus: Tasks tagged ``gpu`` that run at the same time on the whole server; no limit when None.
        gpus_per_run: GPUs that every container asks for; none when None, and processes see those of their machine.
        team: Name of one of several teams that share the server: its deployments, automations and notifications have names
            of their own, so that nothing of another team changes. None for a server of one's own.
        image: What every container runs; by default mmer:cpu, or mmer:cuda with GPUs.
        notify_url: Apprise URL that gets a message about every failed run and every figure that moved; no messages when None.
        nightly: The study of the deployment of that name; what it does not set is as on the server, or at its default.
    """

    runtime: RuntimeConfig
    pool: str = "mmer"
    kind: str = "process"
    gpus: int | None = None
    notify_url: str | None = None
    gpus_per_run: int | None = None
    team: str | None = None
    image: str | None = None
    nightly: NightlyJob | None = None

    @property
    def tag(self) -> str:
        """Of all runs of the team, by which automations know them."""
        return f"mmer-{self.team}" if self.team else "mmer"

    def named(self, job: str) -> str:
        """A deployment's name: jobs of several teams are flows of the same name."""
        return f"{self.team}-{job}" if self.team else job


def read(name: str) -> Any:
    """One of the YAML files of ``deployments``."""
    return yaml.safe_load((resources.files("deployments") / name).read_text("utf-8"))


def deploy(plan: Plan) -> list[str]:
    """Set up the server at ``PREFECT_API_URL``; returns the names of the deployments, as ``flow/deployment``.

    Raises:
        ConfigError: Runs in containers could not reach the store, or runs in processes are to ask for GPUs.
    """
    runtime = plan.runtime.for_worker(plan.runtime.workers)
    if plan.kind != "process" and not runtime.store.startswith("s3://"):
        raise ConfigError(
            f"runs of a {plan.kind} pool cannot reach the store {plan.runtime.store}: give --store s3://BUCKET/PREFIX"
        )
    pool = pool_of(plan)
    with get_client(sync_client=True) as client:
        _make_pool(client, plan.pool, pool)
        settings = read("jobs.yaml")
        names = [_deploy_one(client, plan, job, settings.get(job.name, {}), runtime, pool) for job in JOBS]
        if plan.gpus is not None:
            client.create_concurrency_limit(tag="gpu", concurrency_limit=plan.gpus)
        notifier = _make_notifier(plan)
        for automation in read("automations.yaml"):
            _make_automation(client, _of_team(automation, plan), notifier)
    return names


def pool_of(plan: Plan) -> dict[str, Any]:
    """Type of a work pool, job variables of its deployments, and its template.

    ``template`` is what Prefect's own lacks; ``asked`` is in the template whatever a pool that exists has there.

    Raises:
        ConfigError: Runs in processes are to ask for GPUs, or for an image.
    """
    pool = {"template": {}, "asked": {}, **read(f"pools/{plan.kind}.yaml")}
    with_gpus = pool.pop("with_gpus", None)
    if plan.image is not None:
        if "image" not in pool["job_variables"]:
            raise ConfigError(
                f"runs of a {plan.kind} pool have no image: leave out --image, or give --kind docker or kubernetes"
            )
        chosen = {"job_variables": {"image": plan.image}}
    else:
        chosen = {}
    if plan.gpus_per_run is None:
        return dict(merged(pool, chosen))
    if with_gpus is None:
        raise ConfigError(
            f"runs of a {plan.kind} pool ask for no GPUs, they see those of the worker's machine: leave out --gpus-per-run, or "
            "choose some with CUDA_VISIBLE_DEVICES"
        )
    gpus = {"variables": {"properties": {"gpus": {"default": plan.gpus_per_run}}}}
    with_gpus["asked"] = merged(with_gpus.pop("template"), gpus)
    return dict(merged(merged(pool, with_gpus), chosen))


def merged(one: Any, other: Any) -> Any:
    """Both, nested; where they differ the other counts.

    Lists as Kubernetes does it: entries with a name, or mounted at a path, are one by that; of others each is kept once.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {**one, **{name: merged(one.get(name), value) for name, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list):
        for key in ("mountPath", "name"):
            if all(isinstance(entry, Mapping) and key in entry for entry in (*one, *other)):
                both = merged({entry[key]: entry for entry in one}, {entry[key]: entry for entry in other})
                return list(both.values())
        return one + [entry for entry in other if entry not in one]
    return other


def template_of(pool: Mapping[str, Any], own: Mapping[str, Any], found: Mapping[str, Any] | None) -> Any:
    """The template of a pool: a found one gets what it lacks and what was asked for, and keeps the rest.

    Args:
        own: Prefect's, for this kind of pool.
        found: That of the pool, where it exists.
    """
    both = merged(own, pool["template"]) if found is None else merged(pool["template"], found)
    return merged(both, pool["asked"])


def _make_pool(client: SyncPrefectClient, name: str, pool: Mapping[str, Any]) -> None:
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        template = template_of(pool, _template(client, pool["type"]), None)
        client.create_work_pool(WorkPoolCreate(name=name, type=pool["type"], base_job_template=template))
        return
    if found.type != pool["type"]:
        raise ConfigError(
            f"the work pool {name} has type {found.type}, not {pool['type']}: give another name with --pool"
        )
    template = template_of(pool, _template(client, pool["type"]), found.base_job_template or None)
    if template != found.base_job_template:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


def _template(client: SyncPrefectClient, kind: str) -> dict[str, Any]:
    """The server's default template for a kind of pool."""
    view = {"view": "aggregate-worker-metadata"}
    for workers in client.request("GET", "/collections/views/{view}", path_params=view).json().values():
        if kind in workers:
            return dict(workers[kind]["default_base_job_configuration"])
    raise ConfigError(f"the Prefect server knows no work pool of type {kind}: install its integration there")


def _deploy_one(
    client: SyncPrefectClient,
    plan: Plan,
    job: Job,
    settings: Mapping[str, Any],
    runtime: RuntimeConfig,
    kind: Mapping[str, Any],
) -> str:
    flow = load(job.flow).prefect
    name = f"{flow.name}/{plan.named(job.name)}"
    running = _running_schedules(client, name)
    (parameter,) = flow.parameters.properties
    given = {"runtime": runtime.model_dump(mode="json")}
    if job.name == "nightly":
        given = _nightly(plan, runtime, _found(client, name), parameter)
    deployment = RunnerDeployment.from_flow(
        flow,
        name=plan.named(job.name),
        description=flow.description,
        tags=[plan.tag, *settings.get("tags", ())],
        parameters={parameter: given},
        schedules=[_schedule(one, running) for one in settings.get("schedules", ())],
        concurrency_limit=settings.get("concurrency_limit"),
        enforce_parameter_schema=True,
        work_pool_name=plan.pool,
        job_variables=dict(kind["job_variables"]),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.entrypoint = f"flows.deployed.{flow.fn.__name__}"
    deployment.apply()
    return name


def _nightly(
    plan: Plan, runtime: RuntimeConfig, found: DeploymentResponse | None, parameter: str
) -> dict[str, Any]:
    """The nightly study: that of the plan, else the one that is deployed, else the default; and where it runs.

    Paths are absolute, as a worker has another working directory. Of where it runs, the plan's own flags win.
    """
    if plan.nightly is None:
        there = found.parameters.get(parameter, {}) if found else {}
        return {**there, "runtime": runtime.model_dump(mode="json")}
    asked = {name: getattr(plan.runtime, name) for name in plan.runtime.model_fields_set}
    own = plan.nightly.runtime.model_copy(update=asked)
    fields = _with_absolute_paths(plan.nightly.model_dump(exclude_unset=True, exclude={"runtime"}))
    return {**to_jsonable_python(fields), "runtime": own.for_worker(own.workers).model_dump(mode="json")}


def _with_absolute_paths(value: Any) -> Any:
    match value:
        case Path():
            return value.expanduser().absolute()
        case dict():
            return {name: _with_absolute_paths(one) for name, one in value.items()}
        case list() | tuple():
            return [_with_absolute_paths(one) for one in value]
    return value


def _found(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _running_schedules(client: SyncPrefectClient, name: str) -> set[str]:
    """Cron expressions of the active schedules of a deployment."""
    found = _found(client, name)
    schedules = found.schedules if found else ()
    return {one.schedule.cron for one in schedules if one.active and isinstance(one.schedule, CronSchedule)}


def _schedule(entry: Mapping[str, Any], running: set[str]) -> DeploymentScheduleCreate:
    cron = CronSchedule(cron=entry["cron"], timezone=entry["timezone"])
    return DeploymentScheduleCreate(schedule=cron, active=entry["active"] or entry["cron"] in running)


def _make_notifier(plan: Plan) -> Any:
    """Id of the block that sends notifications; the server keeps the address secret."""
    if plan.notify_url is None:
        return None
    # The one block of Prefect that keeps its address secret and passes it on to Apprise, for whatever service.
    return SlackWebhook(url=SecretStr(plan.notify_url)).save(f"{plan.tag}-failures", overwrite=True)


def _of_team(entry: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """An automation of the YAML file for the runs of one team."""
    if plan.team is None:
        return dict(entry)
    related = dict(entry["trigger"]["match_related"])
    if related["prefect.resource.role"] == "tag":
        related["prefect.resource.id"] = f"prefect.tag.{plan.tag}"
    else:
        related["prefect.resource.name"] = plan.named(related["prefect.resource.name"])
    actions = []
    for action in entry["actions"]:
        flow, _, job = action.get("deployment", "").partition("/")
        actions.append({**action, "deployment": f"{flow}/{plan.named(job)}"} if job else action)
    return {
        **entry,
        "name": f"{entry['name']} ({plan.team})",
        "trigger": {**entry["trigger"], "match_related": related},
        "actions": actions,
    }


def _make_automation(client: SyncPrefectClient, entry: Mapping[str, Any], notifier: Any) -> None:
    actions = [_action(client, dict(action), notifier) for action in entry["actions"]]
    if None in actions:
        return
    automation = AutomationCore.model_validate({**entry, "actions": actions})
    same_name = {"automations": {"name": {"any_": [entry["name"]]}}}
    found = client.request("POST", "/automations/filter", json=same_name).json()
    body = automation.model_dump(mode="json", exclude={"owner_resource"})
    if found:
        body["enabled"] = found[0]["enabled"]  # stays off where somebody switched it off
        client.request("PUT", "/automations/{id}", path_params={"id": found[0]["id"]}, json=body)
    else:
        client.request("POST", "/automations/", json=body)


def _action(client: SyncPrefectClient, action: dict[str, Any], notifier: Any) -> dict[str, Any] | None:
    """An action with ids where the YAML has names; None when it would notify nobody."""
    if action["type"] == "run-deployment":
        found = client.read_deployment_by_name(action.pop("deployment"))
        return action | {"source": "selected", "deployment_id": str(found.id)}
    if action["type"] == "send-notification":
        return action | {"block_document_id": str(notifier)} if notifier else None
    return action
