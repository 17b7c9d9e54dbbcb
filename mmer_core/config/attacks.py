"""Pixel attacks, and what counts as success."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmer_core.attacks.registry import ATTACKS
from mmer_core.base_config import SPEED, Config, Split
from mmer_core.named import chosen_from, option_field

EmotionCriterion = Literal[
    "dominant", "misclassified", "target", "top", "labels", "suppress", "appear", "shift"
]
MatchCriterion = Literal["image-to-text", "text-to-image", "both", "caption-rises", "image-rises"]


@chosen_from(attacks=ATTACKS)
class SearchConfig(Config):
    """Few-pixel attacks on an image that a model reads, and what counts as success."""

    attacks: tuple[str, ...] = Field(("sparse-rs", "random-corners"), min_length=1, description="Attacks.")
    pixels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5), min_length=1, description="How many pixels (K) may change; one curve point each."
    )
    stream: Literal["context", "body", "photo"] = Field(
        "context",
        description="What is attacked: an image as the model reads it, 'context' or 'body', while text and the other "
        "stay as they are; or the 'photo' itself, whose pixels reach both through cropping and resizing.",
    )
    budget: int = Field(400, ge=1, description="Most queries to the victim per image, attack and K.")
    criterion: EmotionCriterion = Field(
        "dominant",
        description="A classifier is fooled when: 'dominant': its dominant label changes; 'misclassified': "
        "that of a single-label model is not the annotated one; 'target': 'category' becomes the dominant one; 'top': any of the first 'top_emotions' changes; 'labels': any category appears or "
        "goes; 'suppress', 'appear': 'category' goes, appears; 'shift': the rating 'dimension' moves by 'tau'.",
    )
    category: str | None = Field(None, description="Label that the criterion is about.")
    top_emotions: int = Field(3, ge=1, description="How many labels the criterion 'top' looks at.")
    dimension: str = Field("valence", description="Rating that the criterion 'shift' looks at.")
    tau: float = Field(1.0, gt=0, description="Least movement for 'shift', in points of the rating.")
    direction: Literal["either", "up", "down"] = Field("either", description="Way to move for 'shift'.")
    match_criterion: MatchCriterion = Field(
        "image-to-text",
        description="A retrieval model is fooled when: 'image-to-text': no own caption is in the first 'top' for the "
        "image; 'text-to-image': the image is in the first 'top' for no own caption; 'both': both; 'caption-rises', "
        "'image-rises': the first caption of the sample 'target' is found by the image, finds the image.",
    )
    target: str | None = Field(None, description="Id of the sample whose caption a targeted attack is after.")
    top: int = Field(10, ge=1, description="A match counts as found at this rank or above.")
    seed: int = Field(0, ge=0, description="Seed of the choice of images and of every search.")

    @model_validator(mode="after")
    def _criteria_know_their_target(self) -> Self:
        if self.criterion in ("target", "suppress", "appear") and self.category is None:
            raise ValueError(f"the criterion {self.criterion!r} is about one label: name it as category")
        if self.match_criterion in ("caption-rises", "image-rises") and self.target is None:
            raise ValueError(
                f"the criterion {self.match_criterion!r} is about a caption: give the id of its sample as target"
            )
        return self


class AttackConfig(SearchConfig):
    """Few-pixel attacks on many images of a dataset."""

    images: int = Field(50, ge=1, description="Images to attack, drawn at random from the split.")
    split: Split = Field("test", description="Split to attack.")
    seeds: int = Field(
        1,
        ge=1,
        description="Times that each attack is run, with seeds from 'seed' on; the worst case counts, and the report shows "
        "each alone.",
    )
    shard_size: Annotated[int | None, SPEED] = Field(
        None,
        ge=1,
        description="Images in one shard; shards run in parallel and resume. By default as many as take 20 to 40 seconds.",
    )

    @model_validator(mode="after")
    def _every_attack_runs(self) -> Self:
        for name in self.attacks:
            attack = ATTACKS.configured(name, self)
            if all(attack.repeats(pixels, again=False) for pixels in self.pixels):
                raise ValueError(f"{name} with these options is run for one pixel only: add 1 to pixels")
        return self

    def aim(self) -> dict[str, Any]:
        """What is attacked and what counts as success, without how: by which attacks, how often, on which images."""
        how = {
            "attacks",
            "pixels",
            "budget",
            "images",
            "shard_size",
            "seed",
            "seeds",
            *map(option_field, ATTACKS),
        }
        return self.model_dump(exclude=how)
