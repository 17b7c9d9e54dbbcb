"""podman and buildah with storage and settings of their own, below one folder."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Without cgroups, systemd and a log daemon, which a container or a virtual machine may lack.
_SETTINGS = """\
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "netavark"
"""

CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
"""Flags of containers that can write nowhere but to what they are given."""


@dataclass(frozen=True)
class Engine:
    """Runs containers; all that it keeps is below ``folder``."""

    folder: Path

    @property
    def running(self) -> Path:
        """State of what runs, which is lost with it."""
        return self.folder / "running"

    def prepare(self) -> None:
        """Write the settings."""
        for folder in (self.folder / "temporary", self.folder / "storage", self.running):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "containers.conf").write_text(_SETTINGS)
        places = f'driver = "overlay"\ngraphroot = "{self.folder / "storage"}"\nrunroot = "{self.running}"\n'
        (self.folder / "storage.conf").write_text(f"[storage]\n{places}")
        (self.folder / "storage/defaultNetworkBackend").write_text("netavark")

    @property
    def env(self) -> dict[str, str]:
        """The environment of every program that works with this storage."""
        places = {
            "CONTAINERS_STORAGE_CONF": "storage.conf",
            "CONTAINERS_CONF": "containers.conf",
            "TMPDIR": "temporary",
        }
        return os.environ | {name: str(self.folder / file) for name, file in places.items()}

    def run(self, *words: str, seconds: float = 600, stdin: "int | None" = None) -> str:
        """Run a program to its end; what it printed. Its errors are in the exception where it fails."""
        done = self.tried(*words, seconds=seconds, stdin=stdin)
        if done.returncode:
            raise AssertionError(
                f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-3000:]}{done.stdout[-3000:]}"
            )
        return done.stdout

    def tried(
        self, *words: str, seconds: float = 600, stdin: "int | None" = None
    ) -> "subprocess.CompletedProcess[str]":
        """The same where failing is an answer."""
        return subprocess.run(
            words, env=self.env, capture_output=True, text=True, timeout=seconds, check=False, stdin=stdin
        )

    def has_image(self, name: str) -> bool:
        return self.tried("podman", "image", "exists", name).returncode == 0

    def megabytes(self, name: str) -> int:
        """Size of an image with all its layers."""
        return round(int(self.run("podman", "image", "inspect", "--format", "{{.Size}}", name)) / 1e6)

    def layers(self, name: str) -> list[str]:
        """Digests of an image's layers, lowest first."""
        listed = self.run(
            "podman", "image", "inspect", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}", name
        )
        return listed.split()

    def import_folder(self, root: Path, name: str, changes: Sequence[str]) -> None:
        """Make an image of a folder that holds a root file system."""
        flags = [flag for change in changes for flag in ("--change", change)]
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            assert tar.stdout is not None
            self.run("podman", "import", "--quiet", *flags, "-", name, stdin=tar.stdout.fileno())

    def wait_until_healthy(self, container: str, seconds: float) -> None:
        """Ask for a container's health until it is well: podman asks by itself only with systemd."""
        deadline = time.monotonic() + seconds
        while (asked := self.tried("podman", "healthcheck", "run", container)).returncode:
            if time.monotonic() > deadline:
                log = self.tried("podman", "logs", "--tail", "30", container)
                raise AssertionError(
                    f"{container} is not well: {asked.stdout}{asked.stderr}{log.stdout}{log.stderr}"
                )
            time.sleep(1)
