"""Decoders: an optional head of image-text models that writes a caption from a photo's embedding, word by word.

Each is a module here; what they share is in `base`, how captions are searched for in `search`.
"""

from typing import TYPE_CHECKING

from mmer_core.lazily import lazily
from mmer_core.models.decoders.spec import DECODER_FILE as DECODER_FILE
from mmer_core.models.decoders.spec import DecoderSpec as DecoderSpec
from mmer_core.models.decoders.vocabulary import Vocabulary as Vocabulary
from mmer_core.models.decoders.vocabulary import caption_words as caption_words

if TYPE_CHECKING:
    from mmer_core.models.decoders.base import CaptionDecoder as CaptionDecoder
    from mmer_core.models.decoders.files import DECODERS as DECODERS
    from mmer_core.models.decoders.files import build_decoder as build_decoder
    from mmer_core.models.decoders.files import load_decoder as load_decoder
    from mmer_core.models.decoders.files import save_decoder as save_decoder
    from mmer_core.models.decoders.search import write_captions as write_captions

__getattr__ = lazily(
    __name__,
    {
        ".base": ("CaptionDecoder",),
        ".files": ("DECODERS", "build_decoder", "load_decoder", "save_decoder"),
        ".search": ("write_captions",),
    },
)
