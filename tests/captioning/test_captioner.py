"""Captions against a greedy loop written out step by step, and folders that must be refused."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file
from support import hf_folders
from support.captioner_folders import BUILDERS, END, IMAGE, START, build, photos
from support.encoder_helpers import refused
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from mmer_core.captioning import Captioner, captioner_identity, load_captioner
from mmer_core.captioning.captioner import CHAT_PROMPT

TOKENS = 8
NextToken = Callable[[list[int]], Tensor]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(name, tmp_path_factory.mktemp(name)) for name in BUILDERS}


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one's own, to spoil."""
    return build(request.param, tmp_path / "model")


def next_token_scores(model: Any, pixels: Tensor) -> NextToken:
    """Scores of the next token after those so far, without generation, caches or batches."""
    kind = model.config.model_type

    def scores(tokens: list[int]) -> Tensor:
        ids = torch.tensor([tokens])
        if kind == "blip":
            seen = model.vision_model(pixel_values=pixels).last_hidden_state
            return model.text_decoder(input_ids=ids, encoder_hidden_states=seen).logits[0, -1]
        if kind == "vision-encoder-decoder":
            return model(pixel_values=pixels, decoder_input_ids=ids).logits[0, -1]
        return model(pixel_values=pixels, input_ids=ids).logits[0, -1]

    return scores


@cache
def parts(folder: Path) -> tuple[Any, Any, Any]:
    """Model, tokenizer and image processor as they were saved."""
    return (
        AutoModelForImageTextToText.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
        AutoImageProcessor.from_pretrained(folder),
    )


@torch.no_grad()
def greedy(folder: Path, photo: Image.Image, start: list[int], keep: int) -> str:
    """The likeliest token, again and again, until the end or `TOKENS`; ``start[keep:]`` is part of the answer."""
    model, tokenizer, processor = parts(folder)
    scores = next_token_scores(model, processor(photo, return_tensors="pt")["pixel_values"])
    answer: list[int] = []
    while len(answer) < TOKENS and END not in answer:
        answer.append(int(scores([*start, *answer]).argmax()))
    return tokenizer.decode([*start, *answer][keep:], skip_special_tokens=True).strip()


def first_tokens(folder: Path, name: str, prompt: str = CHAT_PROMPT) -> list[int]:
    """What a model without a chat begins with; for LLaVA a token for every patch (4 x 4), then the question."""
    if name != "llava":
        return [START]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer(f"{IMAGE * 16} {prompt} on", add_special_tokens=True)["input_ids"]


@pytest.mark.parametrize("name", BUILDERS)
def test_captions_are_greedy(folders, name):
    captioner, shown = load_captioner(f"hf:{folders[name]}", None, TOKENS), photos(8)
    start = first_tokens(folders[name], name)
    expected = [greedy(folders[name], photo, start, len(start)) for photo in shown]
    assert captioner.describe(shown) == expected
    assert len(set(expected)) > 4, "photos that all get one caption test nothing"


@pytest.mark.long
@pytest.mark.parametrize("name", BUILDERS)
def test_no_caption_depends_on_the_photos_beside_it(folders, name):
    captioner, shown = load_captioner(f"hf:{folders[name]}", None, TOKENS), photos(9)
    alone = [captioner.describe([photo])[0] for photo in shown]
    assert captioner.describe(shown) == alone
    assert captioner.describe([]) == []
    assert captioner._describe(shown) == alone, "as on an accelerator, all in one batch"
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(captioner.describe, [shown] * 6)) == [alone] * 6


def test_a_caption_goes_on_from_its_beginning(folders):
    folder = folders["blip"]
    captioner, shown = load_captioner(f"hf:{folder}", "two dogs", TOKENS), photos(5)
    start = AutoTokenizer.from_pretrained(folder)("two dogs", add_special_tokens=False)["input_ids"]
    expected = [greedy(folder, photo, [START, *start], 1) for photo in shown]
    captions = captioner.describe(shown)
    assert captions == expected
    assert all(caption.startswith("two dogs") for caption in captions)


def test_the_question_of_a_chat_decides_and_is_not_repeated(folders):
    folder, shown = folders["llava"], photos(5)
    start = first_tokens(folder, "llava", "the red dog")
    answers = load_captioner(f"hf:{folder}", "the red dog", TOKENS).describe(shown)
    assert answers == [greedy(folder, photo, start, len(start)) for photo in shown]
    assert answers != load_captioner(f"hf:{folder}", None, TOKENS).describe(shown)


def test_a_photo_that_is_refused_costs_no_other(folders):
    """Processors with a limit to the aspect ratio, such as Qwen's, raise for a strip of pixels."""
    trusting = load_captioner(f"hf:{folders['blip']}", None, TOKENS)
    processor = AutoImageProcessor.from_pretrained(folders["blip"])

    def ask(photos: Sequence[Image.Image]) -> dict[str, Tensor]:
        if any(max(photo.size) > 200 * min(photo.size) for photo in photos):
            raise ValueError("absolute aspect ratio must be smaller than 200")
        return processor(images=list(photos), return_tensors="pt")

    captioner = Captioner("picky", trusting.model, ask, trusting._decode, TOKENS)
    shown = [*photos(3), Image.new("RGB", (1, 900)), Image.new("RGB", (1, 1))]
    expected = trusting.describe(shown)
    expected[3] = ""
    assert captioner.describe(shown) == expected
    assert captioner._each(shown) == expected, "as on an accelerator"


@pytest.mark.parametrize("name", ["git", "vit_gpt2"])
def test_a_question_to_a_model_that_reads_none_is_refused(folders, name):
    with refused("describes photos without a prompt; omit caption.prompt"):
        load_captioner(f"hf:{folders[name]}", "What is it?", TOKENS)


def test_no_more_tokens_than_asked_for(folders):
    shown = photos(6)
    long, short = (load_captioner(f"hf:{folders['blip']}", None, n).describe(shown) for n in (12, 3))
    assert all(whole.startswith(part) for whole, part in zip(long, short, strict=True))
    assert max(len(part.split()) for part in short) == 3


def test_half_precision_is_widened_on_a_cpu(folders, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(folders["blip"]).bfloat16()
    build("blip", tmp_path / "half")
    model.save_pretrained(tmp_path / "half")
    assert load_file(tmp_path / "half" / "model.safetensors").popitem()[1].dtype == torch.bfloat16
    captioner: Captioner = load_captioner(f"hf:{tmp_path / 'half'}", None, TOKENS)
    assert captioner.model.dtype == torch.float32
    assert len(captioner.describe(photos(2))) == 2


@pytest.mark.parametrize("folder", ["llava"], indirect=True)
def test_the_identity_follows_the_contents_and_not_the_place(folder, tmp_path):
    first = captioner_identity(f"hf:{folder}")
    assert str(tmp_path) not in str(first)
    moved = (tmp_path / "elsewhere").joinpath("model")
    moved.parent.mkdir()
    folder.rename(moved)
    assert captioner_identity(f"hf:{moved}/") == first
    template = moved / "chat_template.jinja"
    template.write_text("{# another #}" + template.read_text())
    assert captioner_identity(f"hf:{moved}") != first


@pytest.mark.parametrize("folder", ["vit_gpt2"], indirect=True)
@pytest.mark.parametrize(
    ("lost", "match"),
    [
        ("preprocessor_config.json", "has no usable processor"),
        ("tokenizer.json", "has no usable processor|cannot be loaded"),
        ("config.json", "needs config.json and"),
        ("model.safetensors", "needs config.json and"),
    ],
)
def test_an_incomplete_folder_is_refused(folder, lost, match):
    for file in folder.glob(f"{Path(lost).stem}*"):
        file.unlink()
    with refused(match):
        load_captioner(f"hf:{folder}", None, TOKENS)


@pytest.mark.parametrize("folder", ["blip"], indirect=True)
def test_weights_with_a_hole_are_refused(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with refused("weights of another architecture"):
        load_captioner(f"hf:{folder}", None, TOKENS)


def test_what_does_not_caption_is_refused(tmp_path, monkeypatch):
    with refused("cannot be loaded as hf:"):
        load_captioner(f"hf:{hf_folders.build('vit', tmp_path / 'vit')}", None, TOKENS)
    with refused("unknown captioner 'blip'; use hf:"):
        load_captioner("blip", None, TOKENS)
    with refused("there is no model folder"):
        load_captioner(f"hf:{tmp_path / 'nowhere'}", None, TOKENS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with refused("is not in the hub cache"):
        load_captioner("hf:nobody/has-this-model", None, TOKENS)


@pytest.mark.parametrize("folder", ["blip"], indirect=True)
def test_a_processor_that_does_not_fit_its_model_is_told_of_before_any_photo(folder):
    file = folder / "processor_config.json"
    file.write_text(file.read_text().replace("32", "40"))
    with refused(r"does not write captions of 8 tokens \(.*\); give fewer .* or caption.prompt"):
        load_captioner(f"hf:{folder}", None, TOKENS)


def test_captions_longer_than_the_model_can_write_are_told_of_before_any_photo(folders):
    """The tiny BLIP has 32 positions; that a photo needs them all may show after hours only."""
    with refused("does not write captions of 40 tokens"):
        load_captioner(f"hf:{folders['blip']}", None, 40)
