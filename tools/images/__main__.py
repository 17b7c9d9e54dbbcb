"""Build the CPU image, run it, and run the compose file's services: PYTHONPATH=tests python -m tools.images --help."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import yaml
from cyclopts import App, Parameter
from cyclopts.validators import Path as PathValidator

from tools.images import bases, build, needs, wheels
from tools.images.engine import Engine
from tools.images.table import Table
from tools.packages import bom

ROOT = Path(__file__).parents[2]
_COMPOSE = "podman-compose==1.6.0"
app = App(name="images", help=__doc__)


@app.default
def main(
    *,
    folder: Annotated[Path, Parameter(validator=PathValidator(file_okay=False))] = Path(
        "/var/tmp/mmer-images"
    ),
    study: Literal["demo", "small"] = "demo",
    chaos: int = 0,
) -> int:
    """Do everything, and print a table of what was done; exit code 1 when something did not hold.

    Parameters
    ----------
    folder:
        Where images are kept, so that the next time is quicker; takes up to 15 GB. Delete it to start from nothing.
    study:
        What runs: the demo, or the smallest study of the tests.
    chaos:
        So many runs of `tools.chaos` with containers among them, in place of the services.
    """
    folder.mkdir(parents=True, exist_ok=True)
    installed = wheels.found()
    if missing := needs.what_is_missing(folder, installed):
        print(f"NOT TESTED: {missing}")
        return 0
    engine, table = Engine(folder), Table(folder / "table.jsonl")
    engine.prepare()
    table.file.unlink(missing_ok=True)
    try:
        _prepare(engine, table, installed)
        inside = [sys.executable, "-m", "tools.images.stack", str(folder), study]
        if chaos:
            inside = [sys.executable, "-m", "tools.chaos", "--containers", str(folder), "--runs", str(chaos)]
            inside += ["--minutes", str(4 * chaos)]
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        failed = subprocess.run([*apart, *inside], env=engine.env, check=False).returncode
    except AssertionError as error:
        print(error)
        failed = 1
    print(f"\n{table.text()}\n\n{'SOMETHING DID NOT HOLD' if failed else 'all of it holds'}")
    return int(bool(failed))


def _prepare(engine: Engine, table: Table, installed: wheels.Wheels) -> None:
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    (python,) = re.findall(r"^ARG PYTHON=(\S+)", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    with table.row("images to stand on") as seen:
        names = bases.make(engine, python, services)
        seen.append(", ".join(f"{name.rpartition('/')[2]} {engine.megabytes(name)} MB" for name in names))
    given = wheels.given(installed, engine.folder / "pip")
    with table.row("image built") as seen:
        build.build(engine, ROOT, given)
        base = engine.megabytes(names[0])
        whole = engine.megabytes(build.IMAGE)
        seen.append(
            f"{whole} MB, of which {whole - base} MB on top of the {base} MB that stand for Python's image"
        )
        seen.append("torchvision without compiled operators, for this test only")
    with table.row("bill of materials, licences") as seen:
        root = Path(engine.run("podman", "image", "mount", build.IMAGE).strip())
        try:
            seen.append(bom.of_image(root, engine.folder / "materials", datetime.now(UTC)))
        finally:
            engine.run("podman", "image", "unmount", build.IMAGE)
        assert seen[-1].endswith("all accepted"), seen
    with table.row("image built again after a change of sources") as seen:
        seen.append(build.changed(engine, ROOT, given))
    target = engine.folder / "compose"
    if not (target / "bin/podman-compose").exists():
        engine.run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), _COMPOSE)


if __name__ == "__main__":
    sys.exit(app())
