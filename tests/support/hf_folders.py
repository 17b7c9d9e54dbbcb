"""Tiny Hugging Face folders with random weights: real classes, real files, no download."""

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    BitImageProcessor,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTImageProcessor,
    DINOv3ViTModel,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Tokenizer,
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


def roberta(folder: Path) -> None:
    """Positions are counted from behind the padding index, and the tokenizer knows no limit of its own."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *LETTERS]
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "vocab_size": len(words)}
    RobertaModel(RobertaConfig(max_position_embeddings=18, **TOWER, **ids)).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(words)}
    RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)


CLIP_IDS = {
    "bos_token_id": len(BYTES) - 2,
    "eos_token_id": len(BYTES) - 1,
    "pad_token_id": len(BYTES) - 1,
}
CLIP_TEXT = {**TOWER, **CLIP_IDS, "vocab_size": len(BYTES), "max_position_embeddings": 24}


def clip_tokenizer(folder: Path) -> None:
    vocabulary = {token: i for i, token in enumerate(BYTES)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24).save_pretrained(folder)


def clip_processor(folder: Path) -> None:
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 40}, crop_size=size).save_pretrained(folder)


def clip(folder: Path) -> None:
    config = CLIPConfig(text_config=CLIP_TEXT, vision_config=VISION, projection_dim=20)
    CLIPModel(config).save_pretrained(folder)
    clip_tokenizer(folder)
    clip_processor(folder)


def clip_vision(folder: Path) -> None:
    config = CLIPVisionConfig(**VISION, projection_dim=20)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    clip_processor(folder)


def clip_text(folder: Path) -> None:
    CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_TEXT, projection_dim=20)).save_pretrained(folder)
    clip_tokenizer(folder)


def clip_text_bare(folder: Path) -> None:
    """As diffusion models ship it: without the projection."""
    CLIPTextModel(CLIPTextConfig(**CLIP_TEXT)).save_pretrained(folder)
    clip_tokenizer(folder)


def blip(folder: Path) -> None:
    text = {**TOWER, "vocab_size": len(WORDS), "max_position_embeddings": 16, "encoder_hidden_size": 32}
    ids = {"bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    vision = {**VISION, "initializer_range": 0.02}  # its own default is next to nothing
    config = BlipConfig(text_config={**text, **ids}, vision_config=vision, image_text_hidden_size=12)
    BlipForImageTextRetrieval(config).save_pretrained(folder)
    wordpiece().save_pretrained(folder)
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def siglip(folder: Path) -> None:
    ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    text = {**TOWER, **ids, "vocab_size": len(WORDS), "max_position_embeddings": 16, "projection_size": 32}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    # As published for SigLIP: no attention mask.
    wordpiece(model_input_names=["input_ids"]).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def siglip2(folder: Path) -> None:
    """The variant of any aspect ratio: it takes at most so many patches in place of pixels."""
    letters = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = {**TOWER, **ids, "vocab_size": len(letters), "max_position_embeddings": 16, "projection_size": 32}
    vision = {**TOWER, "patch_size": 8, "num_patches": 16}
    Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    names = ["input_ids"]  # as published: no attention mask
    Siglip2Tokenizer(vocab=vocabulary, padding_side="right", model_input_names=names).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)


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


def dinov2_registers(folder: Path) -> None:
    tower = {name: value for name, value in TOWER.items() if name != "intermediate_size"}
    config = Dinov2WithRegistersConfig(image_size=28, patch_size=14, num_register_tokens=2, **tower)
    Dinov2WithRegistersModel(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    BitImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)


def dinov3(folder: Path) -> None:
    DINOv3ViTModel(DINOv3ViTConfig(**VISION, num_register_tokens=2)).save_pretrained(folder)
    DINOv3ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


BUILDERS = {
    builder.__name__: builder
    for builder in (
        bert,
        sentence_bert,
        roberta,
        clip,
        clip_vision,
        clip_text,
        clip_text_bare,
        siglip,
        siglip2,
        blip,
        vit,
        vit_classifier,
        dinov2,
        dinov2_registers,
        dinov3,
    )
}


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one of `BUILDERS` and return its folder."""
    torch.manual_seed(seed)
    BUILDERS[name](folder)
    return folder
