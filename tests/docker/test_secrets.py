"""Secrets come from files, in the image and in the compose file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker/with-secrets"
GUIDE = (ROOT / "docs/operations.md").read_text("utf-8")


def with_secrets(env: dict[str, str], shown: str) -> "subprocess.CompletedProcess[str]":
    program = f"import os; print(ascii(os.environ.get({shown!r})), {shown + '_FILE'!r} in os.environ)"
    base = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [SCRIPT, sys.executable, "-c", program], env=base | env, capture_output=True, text=True
    )


def test_a_file_becomes_a_variable(tmp_path: Path) -> None:
    secret = """ $(id) `id` "'\\\\ @/#%:? \u00e9"""
    file = tmp_path / "a secret"
    file.write_text(f"{secret}\n")
    name = "PREFECT_SERVER_DATABASE_PASSWORD"
    assert with_secrets({f"{name}_FILE": str(file)}, name).stdout == f"{secret!a} False\n"


def test_variables_and_other_files_stay_as_they_are(tmp_path: Path) -> None:
    assert with_secrets({"HF_TOKEN": "token"}, "HF_TOKEN").stdout == "'token' False\n"
    assert with_secrets({"SSL_CERT_FILE": "missing"}, "SSL_CERT").stdout == "None True\n"


@pytest.mark.parametrize("content", [None, ""])
def test_a_secret_that_is_not_there_is_one_sentence(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    done = with_secrets({"AWS_SECRET_ACCESS_KEY_FILE": str(file)}, "AWS_SECRET_ACCESS_KEY")
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr.startswith(
        f"with-secrets: AWS_SECRET_ACCESS_KEY_FILE names {file}, which is missing, empty"
    )


def test_the_guide_names_every_secret() -> None:
    listed = SCRIPT.read_text().split("for name in", 1)[1].split("do\n", 1)[0].replace("\\", " ").split()
    assert len(listed) == 9
    for name in listed:
        assert f"`{name}`" in GUIDE


def test_the_secrets_of_the_guide_are_those_of_the_compose_file(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    making, _, starting = GUIDE.partition("mkdir -p -m 700 docker/secrets")[2].partition("docker compose")
    assert starting.startswith(" -f docker/compose.yaml up")
    script = f"set -eu; umask 077; mkdir -p -m 700 docker/secrets{making}"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    folder = tmp_path / "docker/secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == sorted(
        yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["secrets"]
    )
    assert all(file.stat().st_mode & 0o777 == 0o444 for file in files)
    assert len({file.read_text() for file in files}) == len(files)
