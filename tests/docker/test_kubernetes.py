"""The services in a cluster: valid, restricted, and the same as those of the compose file."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.commands import app

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker/kubernetes"
KUSTOMIZATION = yaml.safe_load((ROOT / "docker/kustomization.yaml").read_text())
FILES = sorted(FOLDER.iterdir())
GUIDE = (ROOT / "docs/kubernetes.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
OBJECTS = [one for file in FILES for one in yaml.safe_load_all(file.read_text())]
VERSIONS = ("1.32.0", kubernetes_validate.latest_version())


def name_of(one: dict[str, Any]) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


PODS = {name_of(one): one["spec"]["template"] for one in OBJECTS if "template" in one.get("spec", {})}
SERVICES = {one["metadata"]["name"]: one["spec"] for one in OBJECTS if one["kind"] == "Service"}


def container_of(name: str) -> dict[str, Any]:
    (container,) = PODS[name]["spec"]["containers"]
    return dict(container)


def test_every_file_is_named_and_there() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == [f"kubernetes/{file.name}" for file in FILES]
    for one in KUSTOMIZATION["configMapGenerator"]:
        assert all((ROOT / "docker" / file).is_file() for file in one.get("files", ()))
    assert len({name_of(one) for one in OBJECTS}) == len(OBJECTS)
    assert {one["metadata"]["name"] for one in OBJECTS if one["kind"] == "Namespace"} == {
        KUSTOMIZATION["namespace"]
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_by_the_schema(version: str) -> None:
    for one in OBJECTS:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    wrong = {**OBJECTS[0], "specification": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def rendered(folder: Path) -> list[dict[str, Any]]:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed, which renders a kustomization")
    done = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.integration
def test_it_is_rendered_with_images_of_a_registry(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    shutil.copytree(ROOT / "docker", folder, ignore=shutil.ignore_patterns("secrets"))
    with (folder / "kustomization.yaml").open("a") as file:
        file.write("images: [{name: mmer, newName: registry.example/mmer, newTag: '1'}]\n")
    made = rendered(folder)
    assert {name_of(one) for one in OBJECTS} < {name_of(one) for one in made}
    for one in made:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == KUSTOMIZATION["namespace"]
    text = yaml.safe_dump_all(made)
    assert "mmer:cpu" not in text
    # Two services, and what `mmer deploy` says that runs run.
    assert text.count("registry.example/mmer:1") == 3
    maps = {one["metadata"]["name"] for one in made if one["kind"] == "ConfigMap"}
    assert "mmer-store" in maps, "runs look for a map of this name"


@pytest.mark.parametrize("name", PODS)
def test_no_pod_may_do_what_it_need_not(name: str) -> None:
    """The profile "restricted" of Kubernetes, which the namespace enforces, and a read-only root besides."""
    pod, container = PODS[name]["spec"], container_of(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod.get("automountServiceAccountToken", True) is (name == "Deployment/worker")


@pytest.mark.parametrize("name", PODS)
def test_what_is_mounted_is_there(name: str) -> None:
    pod, container = PODS[name]["spec"], container_of(name)
    claims = next(one["spec"].get("volumeClaimTemplates", ()) for one in OBJECTS if name_of(one) == name)
    volumes = {one["name"] for one in (*pod["volumes"], *(one["metadata"] for one in claims))}
    assert {one["name"] for one in container["volumeMounts"]} == volumes
    assert "/tmp" in {one["mountPath"] for one in container["volumeMounts"]}
    accounts = {one["metadata"]["name"] for one in OBJECTS if one["kind"] == "ServiceAccount"}
    assert pod["serviceAccountName"] in accounts


@pytest.mark.parametrize("name", PODS)
def test_what_stays_up_is_probed_and_jobs_are_not(name: str) -> None:
    probes = {"startupProbe", "livenessProbe"} & container_of(name).keys()
    assert probes == (set() if name.startswith("Job/") else {"startupProbe", "livenessProbe"})
    _, _, service = name.partition("/")
    assert ("readinessProbe" in container_of(name)) == (service in SERVICES)
    for probe in probes:
        asked = container_of(name)[probe].get("httpGet")
        ports = {port["name"]: port["containerPort"] for port in container_of(name).get("ports", ())}
        assert asked is None or asked["port"] in ports


def secrets_of(name: str) -> Iterator[str]:
    for volume in PODS[name]["spec"]["volumes"]:
        if "secret" in volume:
            yield volume["secret"]["secretName"]
    for source in container_of(name).get("envFrom", ()):
        yield source["secretRef"]["name"]


def test_the_guide_makes_every_secret() -> None:
    used = {secret for name in PODS for secret in secrets_of(name)}
    made = set(re.findall(r"kubectl -n mmer create secret generic (\S+)", GUIDE))
    assert used == made == {"mmer-database", "mmer-store"}
    assert not any(one["kind"] == "Secret" for one in OBJECTS)
    for name in PODS:
        for one in container_of(name).get("env", ()):
            assert one["name"].endswith("_FILE") or not re.search("PASSWORD|SECRET|ACCESS_KEY", one["name"])


@pytest.mark.parametrize("service", ["database", "storage", "server"])
def test_services_are_those_of_the_compose_file(service: str) -> None:
    (name,) = (one for one in PODS if one.endswith(f"/{service}"))
    container, composed = container_of(name), COMPOSE[service]
    assert container["image"] == composed["image"]
    (port,) = SERVICES[service]["ports"]
    assert SERVICES[service]["selector"].items() <= PODS[name]["metadata"]["labels"].items()
    assert port["port"] in {one["containerPort"] for one in container["ports"]}
    if service == "storage":
        arguments = [one.replace("$(IP)", "storage") for one in container["args"]]
        assert arguments == composed["command"]
        assert container["startupProbe"]["exec"]["command"] == composed["healthcheck"]["test"][3:]
    elif service == "server":
        assert container["args"] == composed["command"]
        given = {one["name"]: one["value"] for one in container["env"]}
        assert given.keys() == composed["environment"].keys()
        assert given["PREFECT_SERVER_DATABASE_HOST"] in SERVICES
    else:
        given = {one["name"]: one["value"] for one in container["env"]}
        encoding = "POSTGRES_INITDB_ARGS"
        assert given[encoding] == composed["environment"][encoding]
        assert container["startupProbe"]["exec"]["command"] == composed["healthcheck"]["test"][1:]


def test_addresses_are_those_of_services() -> None:
    text = (ROOT / "docker/kustomization.yaml").read_text() + "".join(file.read_text() for file in FILES)
    addresses = re.findall(r"http://([a-z]+):(\d+)", text)
    named = {(host, int(port)) for host, port in addresses if host != "localhost"}
    assert named == {("storage", 8333), ("server", 4200)}
    for host, port in named:
        assert port in {one["port"] for one in SERVICES[host]["ports"]}
    guarded = {
        one["metadata"]["name"]: one["spec"]["ingress"][0]["ports"][0]["port"]
        for one in OBJECTS
        if one["kind"] == "NetworkPolicy"
    }
    assert guarded == {name: spec["ports"][0]["port"] for name, spec in SERVICES.items()}


def test_deployments_are_made_for_this_namespace() -> None:
    arguments = container_of("Job/deploy")["args"]
    assert arguments[0] == "mmer"
    app.config = []
    app.parse_args(
        [one.replace("$(IMAGE)", "mmer:cpu") for one in arguments[1:]], exit_on_error=False, print_error=False
    )
    pool = yaml.safe_load((ROOT / "deployments/pools/kubernetes.yaml").read_text())
    assert pool["job_variables"]["namespace"] == KUSTOMIZATION["namespace"]
    assert pool["job_variables"]["service_account_name"] == PODS["Job/deploy"]["spec"]["serviceAccountName"]
    worker = container_of("Deployment/worker")
    assert worker["args"][:5] == ["prefect", "worker", "start", "--pool", "mmer"]
    (namespaces,) = (one["value"] for one in worker["env"] if one["name"].endswith("OBSERVER_NAMESPACES"))
    assert namespaces == KUSTOMIZATION["namespace"]
