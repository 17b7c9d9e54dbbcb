"""Commands start at once, because they import none of the libraries that take seconds."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
HEAVY = {
    *(
        "torch",
        "torchvision",
        "transformers",
        "prefect",
        "pandas",
        "pyarrow",
        "scipy",
        "sklearn",
        "matplotlib",
    ),
    *("faiss", "boto3", "safetensors", "imagehash", "fastapi", "huggingface_hub", "jinja2", "opentelemetry"),
}
"""What takes long to import; the configurations of jobs, too, where no job is meant."""
OURS = {"mmer_core.config", "numpy", "pydantic"}


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        ("--version", HEAVY | OURS),
        ("--help", HEAVY | OURS),
        ("no-such-command", HEAVY | {"mmer_core.config", "numpy"}),
        ("pipeline --help", HEAVY),
        ("artifacts ls --store nowhere", HEAVY),
        ("runs --store nowhere", HEAVY),
        ("data check --dataset manifest --root nowhere.csv", HEAVY | {"mmer_core.config.jobs"}),
        ("init nowhere.csv", HEAVY),
        ("data check --dataset class-folders --root photos", HEAVY - {"pyarrow", "faiss"}),
    ],
)
def test_a_command_imports_what_it_needs(command, refused, tmp_path) -> None:
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (300, 200), "red").save(tmp_path / "photos" / name / f"{name}.png")
    script = (
        "import sys\nfrom flows.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('imported:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command.split()], capture_output=True, text=True, cwd=tmp_path
    )
    *_, imported = done.stdout.splitlines()
    assert imported.startswith("imported:"), done.stderr
    assert "flows.commands" in imported.split()
    assert refused & set(imported.split()) == set()


def test_jobs_that_find_everything_need_neither_prefect_nor_what_computes():
    """A job imports its flow, every stage, and the kinds of task that its data are of."""
    script = (
        "import sys\nfrom flows.job_table import JOBS, load\nfrom mmer_core.task_kinds import KINDS\n"
        "found = [load(path) for job in JOBS for path in (job.flow, job.show)], [*KINDS]\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    light = {"pyarrow", "faiss", "jinja2"}
    assert (HEAVY - light) & set(done.stdout.split()) == set()


@pytest.mark.parametrize("command", ["predict photo.jpg", "search dogs", "serve", "attack photo.jpg", "runs"])
def test_a_terminal_is_shown_what_keeps_a_command_busy(command, tmp_path):
    """PyTorch is named as its import begins, and never by a command that does without."""
    (tmp_path / "torch.py").write_text("raise SystemExit(3)\n")
    reading, writing = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command.split(), "--store", str(tmp_path / "store")],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=writing,
    )
    os.close(writing)
    said = os.read(reading, 1000).decode()
    os.close(reading)
    assert said.count("loading PyTorch ...") == (done.returncode == 3) == (command != "runs"), said


def test_the_library_is_imported_at_once():
    script = "import sys\nimport mmer_core as mmer\nassert mmer.__version__\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (HEAVY | OURS | {"rich"}) & set(done.stdout.split()) == set()
