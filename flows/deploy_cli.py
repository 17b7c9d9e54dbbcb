"""`mmer deploy` and `mmer up`: the jobs on a Prefect server."""

import os
import re
import signal
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from flows.output import say
from flows.parameters import Runtime, at_least
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError


def _team_name(_: object, value: str | None) -> None:
    if value is not None and not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", value):
        raise ValueError(
            f"{value!r} is no name of a team: give small letters, digits and hyphens, as in vision-2"
        )


def deploy(
    *,
    pool: str | None = None,
    team: Annotated[str | None, Parameter(validator=_team_name)] = None,
    kind: Literal["process", "docker", "kubernetes"] = "process",
    gpus: Annotated[int | None, Parameter(validator=at_least(1))] = None,
    gpus_per_run: Annotated[int | None, Parameter(validator=at_least(1))] = None,
    image: str | None = None,
    notify_url: Annotated[str | None, Parameter(env_var="MMER_NOTIFY_URL")] = None,
    nightly: str | None = None,
    wait: Annotated[float, Parameter(validator=at_least(0))] = 120,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer deploy`.

    Parameters
    ----------
    pool:
        Name of the work pool; by default the team's, or mmer.
    team:
        Name of one of several teams that share the server, in small letters, digits and hyphens: its deployments
        (vision-train), automations and notifications are its own. Give every team a store and a work pool of its own.
    kind:
        How runs are executed: as processes on the worker's machine, Docker containers, or Kubernetes jobs.
    gpus:
        Maximum number of tasks tagged gpu that run at the same time, over all workers.
    gpus_per_run:
        GPUs that each Docker container or Kubernetes job asks for, which then runs the image mmer:cuda.
    image:
        Name of the image that each Docker container or Kubernetes job runs, as a registry has it; by default mmer:cpu, or
        mmer:cuda with --gpus-per-run.
    notify_url:
        Apprise URL that is notified of failed runs, of figures that moved in a nightly study, and of nights that are missing
        (slack://…, mailto://…). It is a secret: prefer the environment variable MMER_NOTIFY_URL.
    nightly:
        Configuration of the nightly study, as mmer nightly takes it with --config; what is not given there is as on the
        server, or else at its default. Its schedule is paused: switch it on in the Prefect UI.
    wait:
        Seconds for which everything is tried again while the server does not answer, or answers 5xx.
    """
    api = os.environ.get("PREFECT_API_URL")
    if not api:
        raise ConfigError(
            "there is no server to deploy to: set PREFECT_API_URL, or try mmer up on this machine"
        )
    from flows.deploying import Plan  # other commands need not import this
    from flows.deploying import deploy as set_up
    from flows.job_commands import read_job
    from flows.unready_server import until_it_answers

    study = read_job("nightly", nightly) if nightly else None
    plan = Plan(
        runtime,
        pool or team or "mmer",
        kind,
        gpus,
        notify_url or None,
        gpus_per_run,
        team,
        image or None,
        study,
    )
    say(*until_it_answers(lambda: set_up(plan), api, wait))


def up(
    *,
    port: Annotated[int, Parameter(validator=at_least(1, 65535))] = 4200,
    limit: Annotated[int, Parameter(validator=at_least(1))] = 4,
    pool: str = "mmer",
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer up`.

    Parameters
    ----------
    port:
        Port of the server and its UI.
    limit:
        Maximum number of runs at the same time.
    pool:
        Name of the work pool.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.deploying import Plan
    from flows.deploying import deploy as set_up
    from flows.local_server import KEEPING, prefect_server, prefect_worker

    # Like Ctrl-C: without a handler, `kill` would end this process alone and leave server and worker running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A shell's background processes and their children ignore SIGINT, but the worker is stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with prefect_server(port, settings={**KEEPING, **os.environ}) as api:
        with temporary_settings({PREFECT_API_URL: api}):
            names = set_up(Plan(runtime, pool))
        with prefect_worker(api, pool, limit) as worker:
            say(f"{api.removesuffix('/api')} has {len(names)} deployments and a worker; Ctrl-C ends both")
            worker.wait()
