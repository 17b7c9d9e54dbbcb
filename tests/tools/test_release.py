"""`make release`, of a project of four small packages: everything but the study is real."""

import hashlib
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.release import __main__ as command
from tools.release import provenance, wheel
from tools.release.version import Refused

ROOT = Path(__file__).parents[2]
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- Something new.\n\n## 0.1.0\n\n- Something old.\n"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With the packaging of ours, in a repository of its own."""
    root = tmp_path / "project"
    root.mkdir()
    ours = (ROOT / "pyproject.toml").read_text()
    about = '[project]\nname = "mmer"\ndynamic = ["version"]\nreadme = "README.md"\nlicense = "MIT"\nrequires-python = ">=3.11"\n\n'
    system, packaging = ours.partition("[project]")[0], ours.partition("[project.scripts]")
    scripts = "".join(packaging[1:]).partition("[tool.pytest")[0]
    checks = (
        "[tool.check-wheel-contents]"
        + ours.partition("[tool.check-wheel-contents]")[2].partition("[tool.mypy]")[0]
    )
    files = {
        "pyproject.toml": system + about + scripts + checks,
        "README.md": "# Read me\n",
        "LICENSE": "A licence.\n",
        "CHANGELOG.md": CHANGELOG,
        ".gitignore": "dist/\nbuild/\n*.egg-info/\n",
        "docker/requirements.lock": "numpy==2.0\n",
        "mmer_core/__init__.py": '"""Core."""\n\n__version__ = "0.1.0"\n',
        "mmer_core/page.html": "<p>",
        "tasks/__init__.py": '"""Tasks."""\n',
        "flows/__init__.py": '"""Flows."""\n',
        "flows/cli.py": "import sys\n\nfrom mmer_core import __version__\n\n\ndef main():\n    print(__version__, *sys.argv[1:])\n",
        "deployments/__init__.py": '"""Deployments."""\n',
        "deployments/pools/one.yaml": "type: process\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "--quiet", "--initial-branch", "main")
    for name, value in (("user.name", "Somebody"), ("user.email", "somebody@example.org")):
        git(root, "config", name, value)
    git(root, "config", "remote.origin.url", "https://someone:secret@example.org/team/mmer.git")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Begin")
    return root


@pytest.mark.integration
def test_a_release(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = git(project, "rev-parse", "HEAD")
    assert command.main("0.2.0", root=project) == 0
    printed = capsys.readouterr().out
    assert "tried     0.2.0 pipeline --config demo\n" in printed
    revision = git(project, "rev-parse", "HEAD")
    assert git(project, "rev-parse", "HEAD~1") == before
    assert git(project, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert git(project, "show", "--format=", "--name-only").split() == [
        "CHANGELOG.md",
        "mmer_core/__init__.py",
    ]
    parts = [line for line in (project / "CHANGELOG.md").read_text().splitlines() if line]
    assert parts[1] == "## Unreleased"
    assert parts[2].startswith("## 0.2.0 (20")
    assert parts[3:] == ["- Something new.", "## 0.1.0", "- Something old."]
    assert git(project, "tag", "--list") == ""
    assert (
        f"git tag --annotate v0.2.0 --message 'mmer 0.2.0' {revision[:12]}\n    git push origin main v0.2.0\n"
        in printed
    )
    assert git(project, "status", "--porcelain") == ""
    assert len(git(project, "worktree", "list").splitlines()) == 1

    kept = project / "dist/0.2.0"
    names = {
        "mmer-0.2.0.tar.gz",
        "mmer-0.2.0-py3-none-any.whl",
        "bom.json",
        "licences.csv",
        "provenance.json",
    }
    assert {path.name for path in kept.iterdir()} == names
    with zipfile.ZipFile(kept / "mmer-0.2.0-py3-none-any.whl") as opened:
        assert {"mmer_core/page.html", "deployments/pools/one.yaml"} < set(opened.namelist())
    assert json.loads((kept / "bom.json").read_text())["metadata"]["component"]["version"] == "0.2.0"
    statement = json.loads((kept / "provenance.json").read_text())
    digests = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    digests |= {
        one["name"]: one["digest"]["sha256"] for one in statement["predicate"]["runDetails"]["byproducts"]
    }
    assert digests == {
        name: hashlib.sha256((kept / name).read_bytes()).hexdigest() for name in names - {"provenance.json"}
    }
    source, lock, *_ = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source == {
        "uri": f"git+https://example.org/team/mmer@{revision}",
        "digest": {"gitCommit": revision},
    }
    assert lock["digest"]["sha256"] == hashlib.sha256(b"numpy==2.0\n").hexdigest()
    text = "".join((kept / name).read_text() for name in ("bom.json", "provenance.json", "licences.csv"))
    assert "secret" not in text
    assert str(project.parent) not in text

    assert command.main("0.2.0", root=project) == 1
    assert "0.2.0 does not come after 0.2.0" in capsys.readouterr().err


@pytest.mark.integration
def test_the_same_commit_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    made = [wheel.build(project, tmp_path / name, 1_700_000_000) for name in ("one", "two")]
    with tarfile.open(made[0][0]) as opened:
        assert "mmer-0.1.0/mmer_core/page.html" in opened.getnames()
    assert made[0][1].read_bytes() == made[1][1].read_bytes()


@pytest.mark.integration
def test_a_file_that_is_left_out_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "flows/table.csv").write_text("a,b\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Add a table")
    assert command.main("0.2.0", root=project) == 1
    assert "lacks flows/table.csv: add the ending to package-data" in capsys.readouterr().err
    assert (project / "CHANGELOG.md").read_text() == CHANGELOG
    assert git(project, "log", "-1", "--format=%s") == "Add a table"
    assert not (project / "dist").exists()
    assert len(git(project, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("wanted", "change", "refused"),
    [
        ("0.1.0", "", "does not come after 0.1.0"),
        ("0.0.9", "", "does not come after 0.1.0"),
        ("next", "", "'next' is no version"),
        ("0.2.0-rc.1", "", "is written 0.2.0rc1"),
        ("0.2.0", "tag", "there is a tag v0.2.0 already"),
        ("0.2.0", "edit", "not everything is committed (M README.md)"),
        ("0.2.0", "add", "not everything is committed (?? new.py)"),
        ("0.2.0", "empty", "says nothing under Unreleased"),
    ],
)
def test_what_is_refused(
    wanted: str, change: str, refused: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if change == "tag":
        git(project, "tag", "v0.2.0")
    elif change == "edit":
        (project / "README.md").write_text("# Read me twice\n")
    elif change == "add":
        (project / "new.py").touch()
    elif change == "empty":
        (project / "CHANGELOG.md").write_text(CHANGELOG.replace("- Something new.\n\n", ""))
        git(project, "commit", "--quiet", "--all", "--message", "Forget")
    head = git(project, "rev-parse", "HEAD")
    assert command.main(wanted, root=project) == 1
    error = capsys.readouterr().err
    assert refused in error
    assert len(error.splitlines()) == 1
    assert git(project, "rev-parse", "HEAD") == head


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://name:word@example.org/team/mmer.git", "git+https://example.org/team/mmer@abc"),
        ("git@example.org:team/mmer.git", "git+https://example.org/team/mmer@abc"),
        ("ssh://git@example.org/team/mmer", "git+https://example.org/team/mmer@abc"),
        ("/home/somebody/mmer", "git:abc"),
        ("", "git:abc"),
    ],
)
def test_an_address_has_no_secrets_and_no_places(remote: str, expected: str) -> None:
    assert provenance._address(remote, "abc") == expected


@pytest.mark.integration
@pytest.mark.long
def test_the_wheel_runs_outside_of_any_checkout(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(checkout))
    built = wheel.build(checkout, tmp_path / "made", 1_700_000_000)
    assert wheel.check(checkout, *built).endswith("as in git")
    summary, (site, _) = wheel.tried(built[1], tmp_path / "trial", str(ROOT / "tests/support/small.toml"))
    assert (site / "mmer_core/__init__.py").is_file()
    report = Path(summary).resolve()  # the study's last line
    assert report.is_relative_to((tmp_path / "trial/work/.mmer/store").resolve())
    assert report.read_text().rstrip().endswith("</html>")


def test_a_program_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="false ended with 1"):
        wheel._run(["/bin/false"])
