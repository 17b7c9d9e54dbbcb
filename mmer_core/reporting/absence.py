"""What to say of samples without an image."""

from mmer_core.datasets.prepared import Prepared


def without_images(dataset: Prepared) -> str:
    """How many samples have no image, in a sentence; empty where every sample has one."""
    splits = [dataset.split(name) for name in dataset.card.splits]
    lacking, total = sum(split.without_image for split in splits), sum(map(len, splits))
    if not lacking:
        return ""
    if lacking == total:
        return f"None of the {total:,} samples has an image: this is a dataset of texts."
    each = (f"{split.without_image:,} of {len(split):,} in {split.split}" for split in splits)
    return f"{lacking:,} of the {total:,} samples have no image ({', '.join(each)})."
