"""A trained model to a folder of ONNX files with a description; the folder appears only if complete and verified."""

import json
from pathlib import Path
from typing import Any

import torch

from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders.huggingface import load_tokenizer
from mmer_core.encoders.registry import text_folder
from mmer_core.escaping import without_folders
from mmer_core.exporting.examples import cases
from mmer_core.exporting.onnx_files import ExportError, largest_difference, require_onnx, write_onnx
from mmer_core.exporting.towers import Tower, towers
from mmer_core.files import new_folder
from mmer_core.inference import TrainedModel
from mmer_core.models import ModelSpec
from mmer_core.stages.context import Context
from mmer_core.store import ArtifactKey

DESCRIPTION_FILE = "export.json"
TOKENIZER_FOLDER = "tokenizer"
TOLERANCE = 1e-4
"""Largest allowed difference from PyTorch in any output: absolute up to magnitude 1, relative beyond."""
_LONG = "word " * 5000


def export_model(
    context: Context, key: ArtifactKey, to: Path, *, tolerance: float = TOLERANCE
) -> dict[str, float]:
    """Write a trained model as ONNX files.

    The folder holds a ``.onnx`` file for each tower (see `mmer_core.exporting.towers`), ``tokenizer/`` if
    the model reads text, and ``export.json``: inputs, outputs, sizes, preprocessing outside the files,
    label order, thresholds where several labels may come together, and the difference between ONNX Runtime and PyTorch.

    Args:
        key: Key of a ``model`` artifact.
        to: The folder to create, which must not exist yet; after any error it does not exist.
        tolerance: Largest allowed difference of a file.

    Returns:
        The largest difference of every file.

    Raises:
        ConfigError: A package that export needs is missing, or the folder exists.
        ExportError: A tower cannot be written, or a file disagrees with the model.
        StoreError: The model, or an artifact that it was trained on, is missing.
    """
    require_onnx()
    artifact = context.artifact(key)
    trained = TrainedModel.open(artifact.folder, torch.device("cpu"))
    # Weights are exported from the CPU, whatever device the model runs on.
    cpu = Context(context.runtime.model_copy(update={"device": "cpu"}))
    encoders = trained.spec.encoders
    image = cpu.image_encoder(encoders.image, encoders.image_size)
    text = cpu.text_encoder(encoders.text) if "text" in trained.spec.streams else None
    prepared = Prepared.open(context.folder(ArtifactKey.parse(artifact.manifest.inputs["prepared"])))
    split = prepared.split("val")
    parts = list(towers(trained, image, text))
    longest = text.tokens([_LONG])["input_ids"].shape[1] if text is not None else 0
    differences: dict[str, float] = {}
    with new_folder(to) as folder:
        for done, tower in enumerate(parts):
            context.progress(done, len(parts), tower.name)
            inputs = list(cases(tower, split, image, text, seed=0))
            file = f"{tower.name}.onnx"
            write_onnx(tower, inputs[-1], longest, folder / file)
            differences[file] = largest_difference(tower, folder / file, inputs)
            if not differences[file] <= tolerance:
                raise ExportError(
                    f"{file} differs from the model by {differences[file]:.2g}, which is more than {tolerance:g}; "
                    "nothing was exported"
                )
        if text is not None:
            tokenizer = load_tokenizer(text_folder(context.encoder_name(encoders.text)))
            tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
        described = description(key, trained, parts, image, text, longest)
        described["largest_difference"] = differences
        (folder / DESCRIPTION_FILE).write_text(json.dumps(described, indent=2) + "\n")
        context.progress(len(parts), len(parts))
    return differences


def description(
    key: ArtifactKey,
    trained: TrainedModel,
    parts: list[Tower],
    image: ImageEncoder,
    text: TextEncoder | None,
    longest: int,
) -> dict[str, Any]:
    """The contents of ``export.json``, except for the differences of the files."""
    spec = trained.spec
    described: dict[str, Any] = {
        "model": str(key),
        "task": spec.task,
        "family": spec.family,
        "dataset": spec.dataset,
        "encoders": without_folders(spec.encoders.model_dump(exclude={"shard_size"})),
        "files": {f"{tower.name}.onnx": _interface(tower, spec, image, longest) for tower in parts},
        "preprocessing": _preprocessing(spec, image),
    }
    if text is not None:
        described["tokenizer"] = {"folder": TOKENIZER_FOLDER, "longest": longest, "normalise": False}
    if spec.labels:
        described |= {
            "labels": spec.labels,
            "dimensions": spec.dimensions,
            "exclusive": trained.exclusive,
        }
        if not trained.exclusive:
            described["thresholds"] = trained.thresholds.tolist()
    return described


def _interface(tower: Tower, spec: ModelSpec, image: ImageEncoder, longest: int) -> dict[str, Any]:
    height, width = image.size
    widths = {"probabilities": len(spec.labels), "ratings": len(spec.dimensions)}
    return {
        "inputs": [
            *({"name": name, "type": "uint8", "shape": ["batch", height, width, 3]} for name in tower.images),
            *({"name": name, "type": "int64", "shape": ["batch", "tokens"]} for name in tower.tokens),
        ],
        "outputs": [
            {"name": name, "type": "float32", "shape": ["batch", widths.get(name, spec.embedding)]}
            for name in tower.outputs
        ],
    }


def _preprocessing(spec: ModelSpec, image: ImageEncoder) -> dict[str, list[str]]:
    """The preprocessing steps before a file is run, by image stream; normalisation is inside the files."""
    height, width = image.size
    steps = {}
    for stream, side in spec.sides.items():
        shown = "crop the person's box" if stream == "body" else "take the whole photo"
        steps[stream] = [
            "decode to RGB, upright by the EXIF orientation",
            shown,
            f"squeeze to {side} x {side} (bilinear, antialiased)",
        ]
        if (side, side) != (height, width):
            steps[stream].append(f"squeeze to {height} x {width} (bilinear, antialiased)")
    return steps
