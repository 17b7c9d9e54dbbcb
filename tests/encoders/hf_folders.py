"""Tiny Hugging Face folders with random weights: real classes, real files, no download."""

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["a", "two", "the", "red", "dog", "cat", "dogs", "snow", "in", "run", "##ning", "on", "##s", "beach"],
]
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
TEXTS = [
    "two dogs",
    "a cat",
    "the red dog running in the snow on the beach in the snow on the red beach",
    "snow",
    "two red cats",
]


def wordpiece(**options: object) -> BertTokenizer:
    return BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=16, **options)


def bert(folder: Path) -> None:
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **TOWER)).save_pretrained(folder)
    wordpiece().save_pretrained(folder)


def sentence_bert(folder: Path) -> None:
    """As sentence encoders are published: without a pooler."""
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **TOWER)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    wordpiece().save_pretrained(folder)


def clip(folder: Path) -> None:
    start, end = len(BYTES) - 2, len(BYTES) - 1
    ids = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    text = {**TOWER, **ids, "vocab_size": len(BYTES), "max_position_embeddings": 24}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=20)).save_pretrained(folder)
    vocabulary = {token: i for i, token in enumerate(BYTES)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )


def siglip(folder: Path) -> None:
    ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    text = {**TOWER, **ids, "vocab_size": len(WORDS), "max_position_embeddings": 16, "projection_size": 32}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    # As published for SigLIP: no attention mask.
    wordpiece(model_input_names=["input_ids"]).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def vit(folder: Path) -> None:
    ViTModel(ViTConfig(**VISION)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def vit_classifier(folder: Path) -> None:
    """As most ViTs are published: with a classifier, and without the pooler."""
    ViTForImageClassification(ViTConfig(**VISION)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}, image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)


def dinov2(folder: Path) -> None:
    tower = {name: value for name, value in TOWER.items() if name != "intermediate_size"}
    Dinov2Model(Dinov2Config(image_size=28, patch_size=14, **tower)).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    BitImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)


BUILDERS = {
    builder.__name__: builder for builder in (bert, sentence_bert, clip, siglip, vit, vit_classifier, dinov2)
}


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one of `BUILDERS` and return its folder."""
    torch.manual_seed(seed)
    BUILDERS[name](folder)
    return folder
