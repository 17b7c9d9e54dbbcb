"""Any torchvision classification architecture, without its last linear layer."""

from __future__ import annotations

from pathlib import Path

from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.encoders.source import ImageSource
from mmer_core.encoders.weights import file_digest, load_state
from mmer_core.errors import EncoderError
from mmer_core.heavy import nn, torch

_HEADS = ("fc", "classifier", "head", "heads")


def _parse(spec: str) -> tuple[str, Path | None]:
    import torchvision.models as zoo

    architecture, _, file = spec.partition("@")
    if architecture not in zoo.list_models(module=zoo):
        raise EncoderError(
            f"torchvision has no classification architecture {architecture!r}; "
            f"python -c 'import torchvision; print(torchvision.models.list_models())' lists them"
        )
    return architecture, Path(file) if file else None


def cut_head(architecture: str, network: nn.Module) -> int:
    """Replace the last linear layer by the identity and return the width of its input.

    Raises:
        EncoderError: The network does not end in a linear layer.
    """
    for name in _HEADS:
        head = getattr(network, name, None)
        if isinstance(head, nn.Linear):
            setattr(network, name, nn.Identity())
            return head.in_features
        if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Linear):
            width = head[-1].in_features
            head[-1] = nn.Identity()
            return width
    raise EncoderError(
        f"torchvision:{architecture} does not end in a linear layer, so it has no pooled features"
    )


class Torchvision(ImageSource):
    """``<arch>@<weights file>``, or ``<arch>`` with torchvision's default weights (downloaded once).

    The preprocessing is that of torchvision's own weights of the architecture.
    """

    name = "torchvision"
    summary = "ARCH@WEIGHTS_FILE"

    def identity(self, spec: str) -> dict[str, str]:
        import torchvision.models as zoo

        architecture, file = _parse(spec)
        if file is None:
            return {
                "name": f"torchvision:{architecture}",
                "weights": str(zoo.get_model_weights(architecture).DEFAULT),
            }
        return {"name": f"torchvision:{architecture}", "sha256": file_digest(file)}

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        import torchvision.models as zoo

        architecture, file = _parse(spec)
        network = zoo.get_model(architecture, weights=None)
        default = zoo.get_model_weights(architecture).DEFAULT
        if file is not None:
            load_state(network, file)
        else:
            try:
                # The hash is checked only after a download, and not for files in the cache.
                state = default.get_state_dict(progress=False, check_hash=True, weights_only=True)
                network.load_state_dict(state)
            except OSError as error:
                raise EncoderError(
                    f"cannot download the weights of torchvision:{architecture} ({error}); fetch {default.url} "
                    f"elsewhere and name the file: torchvision:{architecture}@<file>"
                ) from None
            except Exception as error:  # malformed bytes make an unpickler raise anything
                file = Path(torch.hub.get_dir()) / "checkpoints" / Path(default.url).name
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise EncoderError(f"{file} is not a file of plain tensors ({reason}); delete it") from None
        width = cut_head(architecture, network)
        transforms = default.transforms()
        mean, std = (
            (tuple(255.0 * value for value in values)) for values in (transforms.mean, transforms.std)
        )
        preprocessing = Preprocessing(size or transforms.crop_size[0], mean, std)
        return ImageEncoder(f"torchvision:{spec}", network, preprocessing, width)
