"""What Docker containers and Kubernetes jobs may do and ask for, by the template that Prefect's workers fill in."""

import json
from importlib import resources
from typing import Any

import kubernetes_validate
import pytest
from docker.types import HostConfig
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.utilities.templating import apply_values
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict

from flows.deploying import Plan, merged, pool_of, template_of
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


def filled(kind: str, asked: int | None, found: Any = None, **changed: Any) -> dict[str, Any]:
    """The job configuration of a run, as a worker of the pool makes it; ``found`` is the template of a pool that exists."""
    pool = pool_of(Plan(RUNTIME, kind=kind, gpus_per_run=asked))
    template = template_of(pool, default_template(kind), found)
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


def pod_and_container(job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    pod = job["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def test_a_kubernetes_job_gets_its_gpus_and_keeps_all_else():
    plain_pod, plain = pod_and_container(filled("kubernetes", None))
    pod, container = pod_and_container(filled("kubernetes", 2, cpu_limit="8"))
    limits = {"memory": "16Gi", "cpu": "8", "nvidia.com/gpu": 2}
    assert container["resources"] == {**plain["resources"], "limits": limits}
    assert container["image"] == "mmer:cuda"
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu"]
    assert pod["restartPolicy"] == "Never"
    apart = {"image", "resources"}
    assert {name: value for name, value in container.items() if name not in apart} == {
        name: value for name, value in plain.items() if name not in apart
    }
    assert {**pod, "containers": 0, "tolerations": 0} == {**plain_pod, "containers": 0, "tolerations": 0}


def test_a_kubernetes_job_may_do_nothing_that_it_need_not():
    pod, container = pod_and_container(filled("kubernetes", None, shared_memory="4Gi"))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    folders = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    volumes = {one["name"]: one["emptyDir"] for one in pod["volumes"]}
    assert set(folders.values()) == volumes.keys()
    assert volumes[folders["/dev/shm"]] == {"medium": "Memory", "sizeLimit": "4Gi"}
    for variable, place in filled("kubernetes", None)["env"].items():
        assert not place.startswith("/") or place.startswith("/work/"), variable
    assert {"/work", "/tmp"} < folders.keys()


@pytest.mark.parametrize("gpus", [None, 2])
def test_a_kubernetes_job_is_one_by_the_schema(gpus):
    """With what the worker adds by itself: names, and lists where the template has a mapping or a command."""
    job = filled("kubernetes", gpus, name="name", labels={"a": "b"}, command="prefect flow-run execute")[
        "job_manifest"
    ]
    pod, container = pod_and_container({"job_manifest": job})
    container["args"] = container["args"].split()
    container["env"] = [{"name": name, "value": value} for name, value in container["env"].items()]
    # Prefect's own template has these two in the pod, where Kubernetes does not know them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_a_pool_that_exists_keeps_what_it_has_and_gets_what_it_lacks():
    own = default_template("kubernetes")
    first = template_of(pool_of(Plan(RUNTIME, kind="kubernetes")), own, None)
    assert template_of(pool_of(Plan(RUNTIME, kind="kubernetes")), own, first) == first
    theirs = {
        "name": "shm",
        "emptyDir": {"medium": "Memory", "sizeLimit": "9Gi"},
    }
    other = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {"volumes": [other, theirs]}
    changed = merged(own, {"job_configuration": {"job_manifest": {"spec": {"template": {"spec": pod}}}}})
    changed["variables"]["properties"]["memory_limit"]["default"] = "99Gi"
    made_pod, container = pod_and_container(filled("kubernetes", 4, changed))
    volumes = {one["name"]: one for one in made_pod["volumes"]}
    assert (volumes["shm"], volumes["data"]) == (theirs, other)
    assert volumes.keys() == {"work", "tmp", "shm", "data"}
    assert container["resources"]["limits"] == {"memory": "99Gi", "nvidia.com/gpu": 4}


def test_a_docker_pool_that_exists_gets_gpus_once():
    own = default_template("docker")
    asked = pool_of(Plan(RUNTIME, kind="docker", gpus_per_run=2))
    assert template_of(pool_of(Plan(RUNTIME, kind="docker")), own, None) == own
    first = template_of(asked, own, own)
    assert template_of(asked, own, first) == first
    (request,) = filled("docker", 2, first)["container_create_kwargs"]["device_requests"]
    assert request["count"] == 2


def test_an_image_has_a_name_of_its_own():
    for gpus in (None, 1):
        pool = pool_of(Plan(RUNTIME, kind="kubernetes", gpus_per_run=gpus, image="registry/mmer:1"))
        assert pool["job_variables"]["image"] == "registry/mmer:1"
    with pytest.raises(ConfigError, match="leave out --image"):
        pool_of(Plan(RUNTIME, image="registry/mmer:1"))


def test_processes_ask_for_none():
    with pytest.raises(ConfigError, match="leave out --gpus-per-run"):
        pool_of(Plan(RUNTIME, gpus_per_run=1))
