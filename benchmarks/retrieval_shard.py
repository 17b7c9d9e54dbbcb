"""What setting up one shard of an attack on a retrieval model costs, before its first query: ten images, both directions.

    python -m benchmarks.retrieval_shard

A shard opens the gallery that the study made once. Beside it what it took when every shard embedded the whole split. Every
figure is of a process of its own: CPU seconds, and peak memory above what it had with network and encoder loaded.
"""

import json as as_json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from cyclopts import App

from benchmarks.memory import peak
from benchmarks.result import finish, run_app
from mmer_core.attacks.gallery import Gallery
from mmer_core.config import AttackConfig, EncoderConfig, RuntimeConfig
from mmer_core.datasets.prepared import CARD_FILE, DatasetSummary, Prepared
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.models import ModelSpec, build_model, save_model
from mmer_core.stages import Context
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.kind import AttackedSplit

app = App(name="benchmarks.retrieval_shard", help=__doc__)
CAPTIONS = 5  # of an image
IMAGES = 10
SIDE = 64

Way = Literal["embeds the split", "opens the gallery"]


@app.default
def main(*, captions: tuple[int, ...] = (5_000, 50_000), json: Path | None = None) -> None:
    """Measure galleries of so many captions."""
    rows: list[dict[str, object]] = []
    ratios: dict[str, float] = {}
    for count in captions:
        with tempfile.TemporaryDirectory() as place:
            _study(Path(place), count)
            found: dict[str, dict[str, float]] = {}
            for way in ("embeds the split", "opens the gallery"):
                command = [sys.executable, "-m", "benchmarks.retrieval_shard", "shard", place, "--way", way]
                answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[way] = as_json.loads(answer.splitlines()[-1])
                rows.append({"captions": count, "a shard": way, **found[way]})
        before, after = found.values()
        ratios |= {
            f"{name} at {count} captions, times less": before[name] / max(after[name], 1e-3) for name in after
        }
    finish("retrieval_shard", rows, ratios, json)


@app.command
def shard(place: Path, *, way: Way) -> None:
    """Set up one shard, and print what it cost."""
    context = Context(RuntimeConfig(device="cpu"))
    trained = TrainedModel.open(place, context.device)
    encoder = context.image_encoder(trained.spec.encoders.image, SIDE)
    kind, config = kind_of("retrieval"), AttackConfig(match_criterion="both")
    peak_before, cpu = peak(), time.process_time()
    split, rows = Prepared.open(place).split("test"), np.arange(IMAGES)
    features = Features(place)
    gallery = (
        kind.gallery(trained, split, features)
        if way == "embeds the split"
        else Gallery.open(place / "gallery", context.device)
    )
    images = encoder.resize(np.array(split.images("context")[rows]))
    attacked = AttackedSplit(trained, encoder, split, features, images, rows, gallery)
    victim, criterion, _ = kind.victim(attacked, config)
    criterion.margin(victim.scores(torch.from_numpy(images), torch.from_numpy(rows)), torch.from_numpy(rows))
    print(as_json.dumps({"CPU s": time.process_time() - cpu, "MiB": peak() - peak_before}))


def _study(place: Path, texts: int) -> None:
    """A prepared split, its features, a model as training leaves it by default, and its gallery; all drawn."""
    count, rng = texts // CAPTIONS, np.random.default_rng(0)
    np.lib.format.open_memmap(place / "test_context_arr.npy", "w+", np.uint8, (count, SIDE, SIDE, 3)).flush()
    table = ["Id,Image Size", *(f"photo-{row},64" for row in range(count))]
    (place / "test.csv").write_text("\n".join(table) + "\n")
    words = [" ".join(f"word{number}" for number in each) for each in rng.integers(0, 3000, (texts, 10))]
    described = [f"{row // CAPTIONS},{text},dataset" for row, text in enumerate(words)]
    (place / "test_texts.csv").write_text("\n".join(["Sample,Text,Provenance", *described]) + "\n")
    DatasetSummary(
        name="drawn", task="retrieval", labels=(), counts={"test": count}, texts={"test": texts}, quarantined={},
        inputs=count, protocol="drawn", synthetic=True,
    ).write(place / CARD_FILE)  # fmt: skip
    streams = {"context": 1280, "text": 384}
    for stream, width in streams.items():
        rows = texts if stream == "text" else count
        np.save(place / f"test_{stream}.npy", rng.standard_normal((rows, width), np.float32))
    encoders = EncoderConfig(image="packaged:efficientnet_lite0", image_size=SIDE)
    spec = ModelSpec(
        task="retrieval", family="joint", streams=streams, embedding=512, hidden=1024, dropout=0.5, heads=8,
        encoders=encoders, dataset="drawn", sides={"context": SIDE},
    )  # fmt: skip
    save_model(build_model(spec), spec, place)
    trained = TrainedModel.open(place, torch.device("cpu"))
    (place / "gallery").mkdir()
    kind_of("retrieval").gallery(trained, Prepared.open(place).split("test"), Features(place)).write(
        place / "gallery"
    )


if __name__ == "__main__":
    run_app(app)
