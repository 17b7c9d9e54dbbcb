"""Read a trained model back, and embed five photos and a text.

    python examples/embed_photos.py STORE PHOTO...

takes the newest retrieval model of a store, for example of ``train_on_your_manifest.py``.
"""

import sys
from pathlib import Path

from mmer_core.config import RuntimeConfig
from mmer_core.inference import TrainedModel
from mmer_core.prediction.photos import read_photo
from mmer_core.querying.searcher import ModelEmbedder
from mmer_core.stages import Context, newest_model

TEXT = "a red ball"


def main(store: str, photos: list[str]) -> None:
    context = Context(RuntimeConfig(store=store))
    manifest = newest_model(context.store, "retrieval")
    trained = TrainedModel.open(context.folder(manifest.key), context.device)
    print(f"{manifest.key}: the {trained.spec.family} model of {trained.spec.dataset}")

    embedder = ModelEmbedder(context, trained)  # with the encoders and sizes that the model was trained with
    vectors = embedder.photos([read_photo(Path(photo)) for photo in photos])  # (N, D), unit vectors
    scores = vectors @ embedder.texts([TEXT])[0]
    print(f"{len(vectors)} vectors of width {vectors.shape[1]}; cosine with {TEXT!r}:")
    for score, photo in sorted(zip(scores, photos, strict=True), reverse=True):
        print(f"{score:6.3f}  {photo}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
