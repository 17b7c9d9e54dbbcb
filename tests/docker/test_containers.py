"""The image and the compose file, as far as they can be judged without an engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import botocore
import pyarrow
import pytest
import yaml
from compose_spec import PyCompose
from packaging.requirements import Requirement
from support.postgres_server import Database
from support.s3_server import ROLES

from flows.cli import main
from flows.commands import app
from flows.local_server import server_arguments
from tools.images.services import settings
from tools.packages.lock import APART

ROOT = Path(__file__).parents[2]
BASE, METRICS = (
    yaml.safe_load((ROOT / "docker" / name).read_text()) for name in ("compose.yaml", "compose.metrics.yaml")
)
COMPOSE = BASE | {"services": settings()}
SERVICES = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = (ROOT / "docker/Dockerfile").read_text().replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line.strip() and not line.startswith("#")]


def arguments_of(name: str) -> list[str]:
    return [value for instruction, value in INSTRUCTIONS if instruction == name]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image
    assert tag not in ("", "latest")
    assert image == "mmer" or re.match(r"\d+\.\d+", tag)


@pytest.mark.parametrize("name", SERVICES)
def test_what_stays_up_says_whether_it_is_well(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (SERVICES[name]["restart"] != "no")


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_files_and_ports_stay_on_this_machine(name: str) -> None:
    given = set()
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|ACCESS_KEY", variable):
            assert variable.endswith("_FILE")
            folder, _, secret = value.rpartition("/")
            assert folder == "/run/secrets"
            given.add(secret)
        assert "NOTIFY" not in variable or re.fullmatch(r"\$\{\w+:-\}", value)
    assert given == set(SERVICES[name].get("secrets", ()))
    for secret in given:
        # Of these, Compose gives only files to containers with a read-only root.
        assert COMPOSE["secrets"][secret] == {"file": f"${{MMER_SECRETS:-./secrets}}/{secret}"}
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")
    assert all(port.endswith(":8333") for port in SERVICES["storage"]["ports"])


@pytest.mark.parametrize("name", SERVICES)
def test_containers_may_do_nothing_that_they_need_not(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    assert service["image"].startswith("mmer:") or service["user"] not in ("root", "0")
    assert "/tmp" in service["tmpfs"]


def test_what_wants_a_home_has_one_that_can_be_written_to() -> None:
    (settings,) = arguments_of("ENV")[-1:]
    variables = dict(word.split("=", 1) for word in settings.split())
    home = variables["HOME"]
    # Prefect's server copies its pages to where its own code is, and has none where it may not.
    assert variables["PREFECT_UI_STATIC_DIRECTORY"].startswith(f"{home}/")
    for service in SERVICES.values():
        assert not service["image"].startswith("mmer:") or home in service["tmpfs"]
    environment, volumes = (SERVICES["worker"][part] for part in ("environment", "volumes"))
    for large in ("MMER_CACHE", "HF_HOME", "TORCH_HOME"):
        assert any(environment[large].startswith(f"{volume.split(':')[1]}/") for volume in volumes)


def test_the_compose_file_is_one() -> None:
    """By the rules of the Compose Specification; merges (<<) are YAML's."""
    services = PyCompose.from_json(json.dumps(COMPOSE))
    services.validate()
    assert set(services.service_names()) == SERVICES.keys()


def test_services_and_volumes_that_are_named_exist() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]
        for source in (volume.split(":")[0] for volume in service.get("volumes", ())):
            assert source in COMPOSE["volumes"] or (ROOT / "docker" / source).is_file()
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()


def test_commands_of_mmer_are_understood() -> None:
    given = [service["command"] for service in SERVICES.values() if "command" in service]
    commands = [command[1:] for command in given if command[0] == "mmer"]
    assert commands
    for command in commands:
        app.config = []
        app.parse_args(command, exit_on_error=False, print_error=False)


def test_the_command_of_the_image_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert arguments_of("ENTRYPOINT") == ['["with-secrets"]']
    (given,) = arguments_of("CMD")
    entry, *arguments = json.loads(given)
    assert entry in PROJECT["scripts"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    assert "mmer pipeline --config demo" in capsys.readouterr().out


def test_the_worker_counts_what_the_monitor_adds_up() -> None:
    plain, counted = BASE["services"]["worker"]["command"], SERVICES["worker"]["command"]
    assert counted == ["opentelemetry-instrument", "--", *plain]
    given = METRICS["services"]["worker"]["environment"]
    (port,) = SERVICES["monitor"]["ports"]
    endpoint = f"http://monitor:{port.rpartition(':')[2]}/v1/metrics"
    assert given["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] == endpoint
    # As the documentation has it for workers elsewhere.
    documented = (ROOT / "docs/operations.md").read_text().partition("### Metrics")[2].partition("###")[0]
    assert dict(re.findall(r"\b(OTEL_\w+)=(\S+)", documented)) == given


def test_the_server_is_started_as_everywhere() -> None:
    assert SERVICES["server"]["command"] == ["prefect", *server_arguments("0.0.0.0", 4200)]
    given = SERVICES["server"]["environment"]
    named = {name.removesuffix("_FILE") for name in given if "DATABASE" in name}
    assert named == Database(5432, "", ROOT).settings.keys()


def test_the_image_installs_what_is_locked_and_torch_from_its_index() -> None:
    (installing,) = (line for line in arguments_of("RUN") if "--require-hashes" in line)
    locked, torch, _ = installing.split(" && ")
    assert {"--no-deps", "--require-hashes", "requirements.lock"} <= set(locked.split())
    defaults = dict(line.split("=", 1) for line in arguments_of("ARG"))
    given = re.findall(r'"(\w+)==\$\{(\w+)\}"', torch)
    assert [name for name, _ in given] == list(APART)
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    for name, argument in given:
        (one,) = (requirement for requirement in asked if requirement.name == name)
        assert one.specifier.contains(defaults[argument])
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
        defaults["PYTHON"].split("-")[0]
    )
    # What has no hash is built by what has one: setuptools of the lock.
    building = [line for line in arguments_of("RUN") if "--prefix /application" in line]
    assert all("--no-deps" in line and "--no-build-isolation" in line for line in building)


def test_a_change_of_sources_makes_no_dependency_again() -> None:
    order = [" ".join(line) for line in INSTRUCTIONS]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    sources = [name.removesuffix("*") for name in packages["include"]]
    assert sources
    installed = next(place for place, line in enumerate(order) if "--require-hashes" in line)
    for name in sources:
        assert order.index(f"COPY {name} {name}") > installed
    # What changes often lies on top of what is large.
    assert order.index("COPY --from=application /application /opt/mmer") > order.index(
        "COPY --from=dependencies /opt/mmer /opt/mmer"
    )


def test_what_no_program_reads_is_removed(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.12/site-packages"
    kept = ["botocore/data/endpoints.json", "botocore/data/s3/a.json.gz", "botocore/data/sso-oidc/b.json.gz"]
    kept += ["torch/bin/torch_shm_manager", "torch/testing/__init__.py", "pyarrow/libarrow.so.2600"]
    gone = [
        "torch/bin/protoc",
        "scipy/tests/a/b.py",
        "torch/test/c.py",
        "torch/include/d.h",
        "pyarrow/include/e.h",
        "pyarrow/_flight.so",
        "numpy/f2py/f.c",
        "botocore/data/ec2/g.json.gz",
    ]
    for name in (*kept, *gone):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    subprocess.run([ROOT / "docker/trim", tmp_path], check=True)
    assert sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.integration
def test_pyarrow_and_boto3_miss_nothing_that_is_removed(tmp_path: Path) -> None:
    """Libraries of pyarrow are linked to each other, used or not."""
    site = tmp_path / "lib/python3.12/site-packages"
    (site / "torch/bin").mkdir(parents=True)
    for package in (pyarrow, botocore):
        folder = Path(package.__file__).parent
        shutil.copytree(folder, site / folder.name)
    subprocess.run([ROOT / "docker/trim", tmp_path], check=True)
    assert not [*site.glob("pyarrow/libarrow_flight*"), *site.glob("pyarrow/libarrow_s3*")]
    program = """
import boto3, io, pandas, pyarrow.compute, pyarrow.dataset, pyarrow.fs, pyarrow.parquet
table = pandas.DataFrame({"a": ["b", "c"], "d": [1, 2]})
assert pandas.read_parquet(io.BytesIO(table.to_parquet())).equals(table)
for name in ("s3", "sts", "sso", "sso-oidc", "signin"):
    assert boto3.client(name, region_name="eu-central-1").meta.service_model.operation_names
print(pyarrow.__file__, boto3.session.botocore.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    assert done.stdout == f"{site}/pyarrow/__init__.py {site}/botocore/__init__.py\n", done.stderr


def test_the_image_has_stages_and_runs_as_nobody_special() -> None:
    stages = [line.split() for line in arguments_of("FROM")]
    assert [stage[-1] for stage in stages] == ["dependencies", "application", "run"]
    assert stages[0][0] == stages[2][0] == "python:${PYTHON}"
    assert stages[1][0] == "dependencies"
    assert arguments_of("ARG")[0].endswith("-bookworm")
    assert arguments_of("USER") == ["1000"]
    assert any("useradd" in line and "--uid 1000" in line for line in arguments_of("RUN"))
    order = [instruction for instruction, _ in INSTRUCTIONS]
    assert "RUN" not in order[order.index("USER") :]
    assert not arguments_of("ADD")


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for copied in arguments_of("COPY"):
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in kept


@pytest.mark.parametrize("name", ROLES)
def test_policies_allow_no_more_than_is_needed(name: str) -> None:
    """What they allow on a server: tests/store/test_roles.py."""
    statements = json.loads((ROOT / f"docker/policies/{name}.json").read_text())["Statement"]
    allowed = {(action, where) for one in statements for action in one["Action"] for where in one["Resource"]}
    assert not any("*" in action for action, _ in allowed)
    writing = {action for action, _ in allowed} - {"s3:GetObject", "s3:ListBucket"}
    deleting = {where for action, where in allowed if action == "s3:DeleteObject"}
    below = "arn:aws:s3:::BUCKET/PREFIX"
    assert deleting == {"reader": set(), "writer": {f"{below}/probe/*"}, "collector": {f"{below}/*"}}[name]
    assert bool(writing) == (name != "reader")
