"""Load a trained model, and embed five photos and a text.

    python examples/embed_photos.py STORE PHOTO...

takes the newest model of a store, for example of ``train_on_your_manifest.py``.
"""

import sys

import mmer_core as mmer

TEXT = "a red ball"


def main(store: str, photos: list[str]) -> None:
    model = mmer.load("model", store=store)
    print(model)
    vectors = model.embed(photos)  # (N, D), unit vectors
    scores = vectors @ model.embed(texts=TEXT)[0]
    print(f"{len(vectors)} vectors of width {vectors.shape[1]}; cosine with {TEXT!r}:")
    for score, photo in sorted(zip(scores, photos, strict=True), reverse=True):
        print(f"{score:6.3f}  {photo}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
