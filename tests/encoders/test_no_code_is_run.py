"""A model folder is data: code that comes with it is not run, whatever is asked and whatever stands on stdin."""

import io
import json
import pickle
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from support import captioner_folders, hf_folders

from mmer_core.captioning.captioner import load_captioner
from mmer_core.encoders import load_image_encoder, load_text_encoder
from mmer_core.encoders.huggingface import resolve
from mmer_core.encoders.weights import read_checkpoint
from mmer_core.errors import EncoderError

_CODE = """
from pathlib import Path
Path({marker!r}).write_text("code was run")
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig
class Own(PretrainedConfig):
    model_type = "own"
"""
_LOADERS = {
    "image": lambda name: load_image_encoder(name, None),
    "text": load_text_encoder,
    "captioner": lambda name: load_captioner(name, None, 5),
}


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that code would write; every question is answered with yes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    yield tmp_path / "marker"
    assert not (tmp_path / "marker").exists(), "code of the folder was run"
    assert sys.stdin.read() == "y\n" * 100, "something was asked"


def _folder(tmp_path: Path, loader: str) -> Path:
    if loader == "captioner":
        return captioner_folders.build("blip", tmp_path / "model")
    return hf_folders.build("clip", tmp_path / "model")


def _plant(folder: Path, marker: Path, changed: dict[str, dict[str, object]]) -> None:
    (folder / "own.py").write_text(_CODE.format(marker=str(marker)))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(_CODE.format(marker=str(marker)))
    for name, fields in changed.items():
        file = folder / name
        old = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(old | fields))


_MAPS = {
    "configuration": {"config.json": {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}},
    "configuration of another repository": {
        "config.json": {"model_type": "own", "auto_map": {"AutoConfig": "some/repository--own.Own"}}
    },
    "image processor": {
        "config.json": {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
        "preprocessor_config.json": {
            "image_processor_type": "Own",
            "auto_map": {"AutoImageProcessor": "own.Own", "AutoProcessor": "own.Own"},
        },
    },
    "tokenizer": {
        "config.json": {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
        "tokenizer_config.json": {
            "tokenizer_class": "Own",
            "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]},
        },
    },
    "processor": {
        "config.json": {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
        "processor_config.json": {"processor_class": "Own", "auto_map": {"AutoProcessor": "own.Own"}},
    },
}  # fmt: skip


@pytest.mark.parametrize("loader", _LOADERS)
@pytest.mark.parametrize("changed", _MAPS.values(), ids=_MAPS)
def test_code_of_a_folder_is_not_run(tmp_path, marker, loader, changed):
    folder = _folder(tmp_path, loader)
    _plant(folder, marker, changed)
    with pytest.raises(
        EncoderError, match=r"needs code of its own \(auto_map in .*json\), which mmer does not run:"
    ):
        _LOADERS[loader](f"hf:{folder}")


@pytest.mark.parametrize("loader", ["image", "text", "captioner"])
def test_an_architecture_of_transformers_is_read_without_the_code_beside_it(tmp_path, marker, loader):
    """As many are published: for versions of transformers that did not have it yet."""
    folder = _folder(tmp_path, loader)
    everything = {"Auto" + kind: "own.Own" for kind in ("Config", "Model", "ImageProcessor", "Processor")}
    everything |= {"AutoModelForImageTextToText": "own.Own"}
    _plant(
        folder,
        marker,
        {
            "config.json": {"auto_map": everything},
            "preprocessor_config.json": {"auto_map": everything},
            "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["own.Own", None]}},
        },
    )
    _LOADERS[loader](f"hf:{folder}")


@pytest.mark.parametrize(
    "fields",
    [
        {"attn_implementation": "some/kernel"},
        {"text_config": {"_attn_implementation": "paged|some/kernel@main:attention"}},
        {"attn_implementation": {"vision_config": "some/kernel"}},
    ],
)
def test_kernels_from_the_hub_are_not_fetched(tmp_path, marker, fields):
    folder = _folder(tmp_path, "text")
    _plant(folder, marker, {"config.json": fields})
    with pytest.raises(
        EncoderError, match=r"refers to code from elsewhere \(.*in config.json\), which mmer does not run"
    ):
        load_text_encoder(f"hf:{folder}")


def test_adapters_are_neither_applied_nor_left_out_in_silence(tmp_path, marker):
    folder = _folder(tmp_path, "text")
    _plant(folder, marker, {"adapter_config.json": {"base_model_name_or_path": "some/model"}})
    with pytest.raises(EncoderError, match=r"holds an adapter .*: merge it"):
        load_text_encoder(f"hf:{folder}")


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.marker, "code was run")


def _pickled(path: Path, marker: Path, kind: str) -> Path:
    data = pickle.dumps({"weight": _Bomb(marker)})
    if kind == "bare":
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("archive/data.pkl", data)
            zipped.writestr("archive/version", "3\n")
    return path


@pytest.mark.parametrize("kind", ["bare", "zipped"])
def test_pickles_are_not_opened(tmp_path, marker, kind):
    """Beside safetensors they are not looked at; alone they are refused; files of weights may hold tensors only."""
    folder = _folder(tmp_path, "text")
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin"):
        _pickled(folder / name, marker, kind)
    load_text_encoder(f"hf:{folder}")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(EncoderError, match=r"needs config\.json and"):
        resolve(str(folder))
    with pytest.raises(EncoderError, match="is not a file of plain tensors"):
        read_checkpoint(_pickled(tmp_path / "weights.pth", marker, kind))
    for source in ("torchvision:resnet18@", "places365:"):
        with pytest.raises(EncoderError, match="is not a file of plain tensors"):
            load_image_encoder(f"{source}{tmp_path / 'weights.pth'}", None)


def test_pickles_in_the_cache_of_torchvision_are_not_opened(tmp_path, marker, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    _pickled(cached, marker, "bare")
    with pytest.raises(
        EncoderError, match=r"resnet18-f37072fd.pth is not a file of plain tensors .*; delete it"
    ):
        load_image_encoder("torchvision:resnet18", None)


_TEMPLATE = "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}{{ messages[0]['content'] }}"


def test_a_chat_template_runs_no_code(tmp_path, marker):
    folder = captioner_folders.build("llava", tmp_path / "model")
    template = _TEMPLATE.replace("MARKER", str(marker))
    for file in folder.glob("*.jinja"):
        file.write_text(template)
    for name in ("processor_config.json", "tokenizer_config.json"):
        fields = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(fields | {"chat_template": template}))
    with pytest.raises(EncoderError, match="does not write captions"):
        load_captioner(f"hf:{folder}", None, 5)


_SPOILT = {
    "deep": b'{"a":' * 100_000,
    "a list": b"[]",
    "words": b'{"model_type": 5, "architectures": [5]}',
    "a word for a list": b'{"model_type": "clip", "architectures": 7, "text_config": 5}',
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("content", _SPOILT.values(), ids=_SPOILT)
@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json"]
)
def test_spoilt_configurations_are_one_sentence(tmp_path, name, content):
    folder = _folder(tmp_path, "image")
    (folder / name).write_bytes(content)
    for load in (_LOADERS["image"], _LOADERS["text"]):
        with suppress(EncoderError):
            load(f"hf:{folder}")


def test_no_other_door_is_left(request):
    """Whoever calls ``from_pretrained`` or asks transformers for code, asks through `from_folder`."""
    root = request.config.rootpath
    for part in ("mmer_core", "tasks", "flows", "benchmarks"):
        for file in sorted((root / part).rglob("*.py")):
            if file.name != "pretrained.py":
                assert ".from_pretrained(" not in file.read_text(), file
                assert "trust_remote_code" not in file.read_text(), file
