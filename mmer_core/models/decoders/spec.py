"""The architecture of a decoder, and the words that it writes with."""

from pydantic import Field

from mmer_core.config import Config
from mmer_core.config.training import Decoder
from mmer_core.models.decoders.vocabulary import Vocabulary

DECODER_FILE = "decoder.json"


class DecoderSpec(Config):
    """Architecture of a decoder; the numbers are those of a small one, for thousands of photos rather than millions."""

    kind: Decoder
    embedding: int = Field(description="Width of the photo's embedding that it reads.")
    words: tuple[str, ...] = Field(description="Its vocabulary, see `Vocabulary`.")
    length: int = Field(ge=1, description="Most words of a caption that it writes.")
    weight: float = Field(description="Weight of its loss in the training.")
    width: int = Field(256, description="Width of its word vectors.")
    hidden: int = Field(512, description="GRU: width of the state.")
    layers: int = Field(2, description="Transformer: layers.")
    heads: int = Field(4, description="Transformer: heads of each layer.")
    prefix: int = Field(4, description="Transformer: vectors as which it reads the photo.")
    dropout: float = Field(0.3, description="Dropout on word vectors and hidden layers.")

    @property
    def vocabulary(self) -> Vocabulary:
        """Its words as numbers."""
        return Vocabulary(self.words)
