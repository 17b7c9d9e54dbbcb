"""``meanmax:<encoder>``: mean and maximum of a text encoder's token states, side by side."""

from pathlib import Path

from mmer_core.encoders.base import TextEncoder
from mmer_core.encoders.parts import transformer
from mmer_core.encoders.registry import encoder_identity, load_text_encoder, text_folder
from mmer_core.encoders.source import TextSource
from mmer_core.errors import EncoderError


def mean_and_max(encoder: TextEncoder) -> TextEncoder:
    """The encoder with `MeanMax` instead of its own pooling; twice as wide.

    Raises:
        EncoderError: The encoder has no token states, as the text tower of a dual encoder.
    """
    from mmer_core.encoders.networks.meanmax import MeanMax

    model = transformer(encoder)
    if model is None:
        raise EncoderError(
            f"{encoder.name} has no states of single tokens to pool; name it without meanmax: in front"
        )
    return TextEncoder(f"meanmax:{encoder.name}", MeanMax(model), encoder.tokenize, 2 * encoder.width)


class MeanMaxPooling(TextSource):
    """`mean_and_max` of another encoder."""

    name = "meanmax"
    summary = "ENCODER, gives mean and maximum over its tokens"
    wraps = True

    def identity(self, spec: str) -> dict[str, str]:
        return {"pooling": "meanmax", **encoder_identity(spec, "text")}

    def load(self, spec: str) -> TextEncoder:
        return mean_and_max(load_text_encoder(spec))

    def folder(self, spec: str) -> Path:
        return text_folder(spec)
