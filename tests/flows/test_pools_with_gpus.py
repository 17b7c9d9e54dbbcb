"""Docker containers and Kubernetes jobs ask for GPUs, by the template that Prefect's workers fill in."""

import json
from importlib import resources
from typing import Any

import pytest
from docker.types import HostConfig
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.utilities.templating import apply_values
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict

from flows.deploying import Plan, merged, pool_of
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError

RUNTIME = RuntimeConfig(store="s3://bucket/prefix")


class Filled(BaseJobConfiguration):
    """Any worker's configuration, with all that the template has."""

    model_config = ConfigDict(extra="allow")


def default_template(kind: str) -> dict[str, Any]:
    """What a Prefect server gives as the template of a kind of pool."""
    views = (
        resources.files("prefect.server.api.collections_data") / "views" / "aggregate-worker-metadata.json"
    )
    workers = json.loads(views.read_text("utf-8"))
    return next(of[kind]["default_base_job_configuration"] for of in workers.values() if kind in of)


def filled(kind: str, asked: int | None, **changed: Any) -> dict[str, Any]:
    """The job configuration of a run, as a worker of the pool makes it."""
    pool = pool_of(Plan(RUNTIME, kind=kind, gpus_per_run=asked))
    template = merged(default_template(kind), pool["template"])
    WorkPoolCreate(name="mmer", type=pool["type"], base_job_template=template)
    defaults = Filled._get_base_config_defaults(template["variables"]["properties"])
    values = {**defaults, **pool["job_variables"], **changed}
    # As `from_template_and_values` does it, but for references to blocks, which would need a server.
    return Filled.model_validate(apply_values(template["job_configuration"], values)).model_dump()


def test_a_docker_container_gets_its_gpus():
    made = filled("docker", 2)
    assert made["image"] == "mmer:cuda"
    host = HostConfig(version="1.44", **made["container_create_kwargs"])
    (request,) = host["DeviceRequests"]
    assert (request["Driver"], request["Count"], request["Capabilities"]) == ("nvidia", 2, [["gpu"]])
    assert host["ShmSize"] == 2**30
    (more,) = filled("docker", 2, gpus=4)["container_create_kwargs"]["device_requests"]
    assert more["count"] == 4


def test_a_kubernetes_job_gets_its_gpus_and_keeps_all_else():
    (plain,) = filled("kubernetes", None)["job_manifest"]["spec"]["template"]["spec"]["containers"]
    made = filled("kubernetes", 2, cpu_limit="8")
    pod = made["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2, "cpu": "8"}
    assert container["image"] == "mmer:cuda"
    assert pod["restartPolicy"] == "Never"
    (volume,), (mount,) = pod["volumes"], container["volumeMounts"]
    assert volume["name"] == mount["name"]
    assert {**container, "image": 0, "resources": 0, "volumeMounts": 0} == {
        **plain,
        "image": 0,
        "resources": 0,
        "volumeMounts": 0,
    }


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_without_gpus_the_template_is_that_of_prefect(kind):
    assert pool_of(Plan(RUNTIME, kind=kind))["template"] == {}
    assert filled(kind, None)["image" if kind == "docker" else "job_manifest"]


def test_processes_ask_for_none():
    with pytest.raises(ConfigError, match="leave out --gpus-per-run"):
        pool_of(Plan(RUNTIME, gpus_per_run=1))
