"""What has to be there before an image can be built and run."""

import os
import shutil
import sys
from pathlib import Path

from tools.images.wheels import Wheels

_PROGRAMS = (
    *("buildah", "podman", "crun", "debootstrap", "unshare", "ip", "iptables"),
    *("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns", "/usr/lib/podman/catatonit"),
)
_ELSEWHERE = {"/usr/lib/podman/catatonit": "/usr/libexec/podman/catatonit"}
GIGABYTES = 20


def what_is_missing(folder: Path, wheels: Wheels) -> str | None:
    """A sentence about what is missing; None when nothing is."""
    if not sys.platform.startswith("linux"):
        return "images are built here on Linux only"
    if os.geteuid() != 0:
        return "images are built here by root only"
    missing = [name for name in _PROGRAMS if not _found(name)]
    if missing:
        names = ", ".join(Path(name).name for name in missing)
        return f"{names} missing: apt-get install buildah podman crun debootstrap netavark aardvark-dns catatonit iptables"
    if wheels.torch is None:
        return (
            "no CPU wheel of torch for Debian 12's Python 3.11 lies in a folder that pip's find-links names: put one "
            "into a folder, and set PIP_FIND_LINKS to it"
        )
    free = shutil.disk_usage(folder).free / 1e9
    if free < GIGABYTES:
        return (
            f"{folder} has {free:.0f} GB free, and {GIGABYTES} are needed: name another folder with --folder"
        )
    return None


def _found(name: str) -> bool:
    other = _ELSEWHERE.get(name)
    return shutil.which(name) is not None or (other is not None and shutil.which(other) is not None)
