"""Build a release from the last commit, check and try it: python -m tools.release --help.

With a version, that commit is followed by one that has the version and the changelog's part about it. It is made only if
all else went well. Tags and pushes are left to the person: the commands are printed.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cyclonedx.exception import CycloneDxException
from cyclopts import App

from tools.packages import bom
from tools.release import provenance, version, wheel
from tools.release.version import Refused

ROOT = Path(__file__).parents[2]
app = App(name="release", help=__doc__)


@app.default
def main(wanted: str = "", *, study: Literal["demo", "small"] = "demo", root: Path = ROOT) -> int:
    """Everything; exit code 1 where nothing was released.

    Parameters
    ----------
    wanted:
        The new version; without one, what is committed is built, checked and tried, and nothing else changes.
    study:
        What is run with the wheel: the demo, or the smallest study of the tests.
    root:
        The checkout.
    """
    try:
        if wanted:
            _refuse_what_cannot_be_released(root, wanted)
        release(root, wanted, study)
    except (Refused, CycloneDxException) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, wanted: str, study: str) -> None:
    """Build in a checkout of its own, and keep what was built only when it is complete."""
    with (
        tempfile.TemporaryDirectory(prefix="mmer-release-") as temporary,
        _checkout(root, Path(temporary)) as tree,
    ):
        if wanted:
            version.write(tree, wanted, datetime.now(UTC).date())
            _git(tree, "commit", "--quiet", "--all", "--message", f"Release {wanted}")
        revision = _git(tree, "rev-parse", "HEAD")
        at = datetime.fromtimestamp(int(_git(tree, "log", "-1", "--format=%ct")), UTC)
        made = Path(temporary) / "made"
        built = wheel.build(tree, made, int(at.timestamp()))
        print(f"built     {', '.join(path.name for path in built)} from {revision[:12]}")
        print(f"checked   {wheel.check(tree, *built)}")
        config = "demo" if study == "demo" else str(tree / "tests/support/small.toml")
        summary, sites = wheel.tried(built[1], Path(temporary) / "trial", config)
        print(f"tried     {summary}")
        print(f"listed    {bom.write(sites, None, made, at)}")
        provenance.write(
            made / "provenance.json",
            built=built,
            beside=[made / "bom.json", made / "licences.csv"],
            lock=tree / "docker/requirements.lock",
            revision=revision,
            remote=_git(root, "config", "--default", "", "--get", "remote.origin.url"),
            at=at,
        )
        kept = root / "dist" / version.current(tree)
        _keep(made, kept)
        if wanted:
            _git(root, "merge", "--quiet", "--ff-only", revision)
    print(f"kept      {kept.relative_to(root)}: {', '.join(sorted(path.name for path in kept.iterdir()))}")
    if wanted:
        files = f"{kept.relative_to(root)}/*.whl {kept.relative_to(root)}/*.tar.gz"
        branch = _git(root, "branch", "--show-current") or "HEAD"
        print("\nLook at the last commit. Then:")
        print(f"    git tag --annotate v{wanted} --message 'mmer {wanted}' {revision[:12]}")
        print(f"    git push origin {branch} v{wanted}")
        print(f"    twine upload {files}")


def _refuse_what_cannot_be_released(root: Path, wanted: str) -> None:
    if changed := _git(root, "status", "--porcelain"):
        raise Refused(
            f"not everything is committed ({changed.splitlines()[0].strip()}): commit or stash it first"
        )
    if _git(root, "tag", "--list", f"v{wanted}"):
        raise Refused(f"there is a tag v{wanted} already: give another version")
    version.check(root, wanted)


@contextmanager
def _checkout(root: Path, temporary: Path) -> Iterator[Path]:
    """The last commit in a folder of its own, in which nothing lies that git does not know."""
    tree = temporary / "checkout"
    _git(root, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
    try:
        yield tree
    finally:
        _git(root, "worktree", "remove", "--force", str(tree))


def _keep(made: Path, kept: Path) -> None:
    part = kept.with_name(f".{kept.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(made, part)
    shutil.rmtree(kept, ignore_errors=True)
    part.rename(kept)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"git {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(app())
