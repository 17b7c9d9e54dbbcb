"""Scene networks in the checkpoint format of Places365, without their last layer.

Zhou et al. 2018, *Places: A 10 million image database for scene recognition*,
https://doi.org/10.1109/TPAMI.2017.2723009. Its authors publish ``resnet18_places365.pth.tar`` and others at
https://github.com/CSAILVision/places365: files of ``torch.save`` with ``arch``, ``state_dict`` (names prefixed with
``module.``) and leftovers of the training (``epoch``, ``best_prec1``). EMOTIC's own baseline reads the context with
such a network.
"""

from pathlib import Path

from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.encoders.source import ImageSource
from mmer_core.encoders.torchvision_models import cut_head
from mmer_core.encoders.weights import file_digest, fit_state, read_checkpoint
from mmer_core.errors import EncoderError

SCENES = 365
_SIDE = 224
# The ImageNet statistics, which were also used to train these networks.
_MEAN = (255 * 0.485, 255 * 0.456, 255 * 0.406)
_STD = (255 * 0.229, 255 * 0.224, 255 * 0.225)


class Places365(ImageSource):
    """Networks that were trained on Places365; the architecture is in the file, with ResNet-18 as the default."""

    name = "places365"
    summary = "FILE"

    def identity(self, spec: str) -> dict[str, str]:
        return {"name": "places365", "sha256": file_digest(Path(spec).expanduser())}

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        import torchvision.models as zoo

        path = Path(spec).expanduser()
        checkpoint = read_checkpoint(path)
        architecture = checkpoint.architecture or "resnet18"
        if architecture not in zoo.list_models(module=zoo):
            raise EncoderError(
                f"{path} names the architecture {architecture!r}, which torchvision does not have; "
                f"give one of the ResNets of Places365"
            )
        network = zoo.get_model(architecture, weights=None, num_classes=SCENES)
        fit_state(network, checkpoint.state, path)
        width = cut_head(architecture, network)
        return ImageEncoder(f"places365:{spec}", network, Preprocessing(size or _SIDE, _MEAN, _STD), width)
