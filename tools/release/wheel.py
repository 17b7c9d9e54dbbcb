"""sdist and wheel: built from a commit, checked, and tried outside of any checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from tools.release.version import Refused

_PACKAGES = ("mmer_core", "tasks", "flows", "deployments")


def build(checkout: Path, folder: Path, seconds_since_1970: int) -> tuple[Path, Path]:
    """Build both into a folder; the wheel is made of the sdist. All dates in them are the given one.

    With the setuptools of this environment, so that nothing is downloaded.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout)]
    _run(command, env=os.environ | {"SOURCE_DATE_EPOCH": str(seconds_since_1970)})
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check(checkout: Path, sdist: Path, wheel: Path) -> str:
    """Raises Refused where their form is wrong, or a file of the packages is missing in the wheel."""
    _run([sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)])
    # In the checkout, whose pyproject.toml says which packages a wheel has.
    _run([sys.executable, "-m", "check_wheel_contents", str(wheel)], cwd=checkout)
    listed = _run(["git", "ls-files", *_PACKAGES], cwd=checkout).splitlines()
    with zipfile.ZipFile(wheel) as opened:
        inside = {name for name in opened.namelist() if ".dist-info/" not in name}
    if missing := sorted(set(listed) - inside):
        raise Refused(
            f"{wheel.name} lacks {', '.join(missing[:5])}: add the ending to package-data in pyproject.toml"
        )
    if others := sorted(inside - set(listed)):
        raise Refused(f"{wheel.name} has {', '.join(others[:5])}, which git does not know")
    return f"{len(inside)} files, as in git"


def tried(wheel: Path, folder: Path, config: str) -> tuple[str, list[Path]]:
    """Run a study with what is in the wheel, in a new virtual environment and an empty folder.

    All but mmer itself is shared with this environment: as a path only, so that its own mmer cannot be seen.

    Args:
        config: What `mmer pipeline --config` takes.

    Returns:
        The study's last line, and the folders ``site-packages`` that were used, the new one first.
    """
    environment, work = folder / "environment", folder / "work"
    shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    python = environment / "bin/python"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    _run([*install, "--python", str(python), str(wheel)])
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PREFECT", "MMER"))
    }
    imported = ", ".join(_PACKAGES)
    where = f"import json, {imported}; print(json.dumps([one.__file__ for one in ({imported})]))"
    (site,) = environment.glob("lib/python3*/site-packages")
    (site / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    files = json.loads(_run([str(python), "-c", where], env=env, cwd=work))
    if not all(Path(file).is_relative_to(site) for file in files):
        raise Refused(f"the trial imported {', '.join(files)} instead of what is in {wheel.name}")
    done = _run([str(environment / "bin/mmer"), "pipeline", "--config", config], env=env, cwd=work)
    return done.strip().splitlines()[-1], [site, Path(sysconfig.get_path("purelib"))]


def _run(command: list[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(Path(word).name if word.startswith("/") else word for word in command)
        raise Refused(f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
