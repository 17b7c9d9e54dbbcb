"""Tiny captioning models with random weights: real classes, real files, no download."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    GPT2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from support.hf_folders import TOWER, VISION, WORDS, wordpiece

PAD, START, END = 0, 2, 3
IDS = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END}
BERT = {**TOWER, **IDS, "vocab_size": len(WORDS), "max_position_embeddings": 32}
SQUARE = {"height": 32, "width": 32}
IMAGE = "<image>"
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE + " {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} on{% endif %}"
)


def blip(folder: Path) -> None:
    text = {**BERT, "encoder_hidden_size": 32, "sep_token_id": END}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION))
    _save(model, folder)
    BlipProcessor(BlipImageProcessor(size=SQUARE), wordpiece()).save_pretrained(folder)


def git(folder: Path) -> None:
    _save(GitForCausalLM(GitConfig(vision_config=VISION, **BERT)), folder)
    GitProcessor(_clip_processor(), wordpiece()).save_pretrained(folder)


def vit_gpt2(folder: Path) -> None:
    """A ViT with a language model behind it, and no processor class that holds both halves."""
    decoder = GPT2Config(
        vocab_size=len(WORDS), n_positions=32, n_embd=32, n_layer=2, n_head=2, add_cross_attention=True, **IDS
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), decoder)
    model = VisionEncoderDecoderModel(config=config)
    model.generation_config.update(decoder_start_token_id=START, pad_token_id=PAD, eos_token_id=END)
    _save(model, folder)
    ViTImageProcessor(size=SQUARE).save_pretrained(folder)
    wordpiece().save_pretrained(folder)


def llava(folder: Path) -> None:
    """A model that is talked to: it has a chat template."""
    tokenizer = wordpiece()
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    text = LlamaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=64, **TOWER, **IDS
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.update(**IDS)
    _save(model, folder)
    LlavaProcessor(
        _clip_processor(),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT,
    ).save_pretrained(folder)


BUILDERS = {builder.__name__: builder for builder in (blip, git, vit_gpt2, llava)}


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one of `BUILDERS` and return its folder."""
    torch.manual_seed(seed)
    BUILDERS[name](folder)
    return folder


def photos(count: int) -> list[Image.Image]:
    """Photos of different sizes, each with a colour and a pattern of its own."""
    generator = np.random.default_rng(5)
    return [
        Image.fromarray(generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((50 + 7 * n, 70), 0)
        for n in range(count)
    ]


def _clip_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)


@torch.no_grad()
def _save(model: Any, folder: Path) -> None:
    """Save with weights so large that every photo gets words of its own."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, 0.4)
    if model.config.model_type == "llava":  # it never says its placeholder of a patch
        model.lm_head.weight[model.config.image_token_index] = 0
    model.save_pretrained(folder)
