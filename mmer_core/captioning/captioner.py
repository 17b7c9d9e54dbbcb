"""Any captioning or image-text-to-text checkpoint of `transformers`, by hub id or local folder.

Three kinds of prompting cover them all: pixels alone (BLIP, GIT, ViT with a language model behind it), pixels with
the beginning of the caption or a task prompt (BLIP, BLIP-2, Florence-2, PaliGemma), and a chat turn (LLaVA, Qwen-VL,
SmolVLM and similar, recognised by their chat template).
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from mmer_core.captioning.prompting import Prompter, prompt_as_chat, prompt_with_pixels, prompt_with_text
from mmer_core.encoders import huggingface
from mmer_core.encoders.pretrained import from_folder
from mmer_core.errors import EncoderError
from mmer_core.heavy import inference_mode, torch, transformers
from mmer_core.text_lines import single_line
from mmer_core.tracing import running

CHAT_PROMPT = "Describe this photo in one sentence."
SOURCE = "hf"
# Errors of a network or processor whose inputs do not fit.
_MISFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, TemplateError)
# They read captions only: a prompt would end with the token that ends a caption, or be ignored.
_WITHOUT_PROMPT = ("git", "pix2struct", "vision-encoder-decoder")


class Captioner:
    """A frozen model that describes photos by greedy decoding, so the same photo always gets the same caption.

    Args:
        name: The name under which it was loaded.
        model: A generative model of `transformers`.
        prompter: Photos to the model's input tensors.
        decode: Token ids ``(B, L)`` to ``B`` texts.
        max_tokens: Maximal number of tokens of a caption.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        prompter: Prompter,
        decode: Callable[[torch.Tensor], list[str]],
        max_tokens: int,
    ) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.max_tokens = max_tokens
        self._prompter = prompter
        self._decode = decode
        self._takes = set(inspect.signature(model.forward).parameters)
        self._lock = threading.Lock()  # fast tokenizers cannot be used by two threads at once

    @inference_mode()
    def describe(self, photos: Sequence[Image.Image]) -> list[str]:
        """One single-line caption per photo; empty if the model generates nothing, or refuses the photo.

        On a CPU, photos are processed one by one, so that rounding never makes a caption depend on the other photos
        of a batch. Elsewhere they are processed as one batch.
        """
        together = 1 if self.model.device.type == "cpu" else max(1, len(photos))
        batches = (photos[start : start + together] for start in range(0, len(photos), together))
        return [caption for batch in batches for caption in self._each(batch)]

    @inference_mode()
    def try_out(self) -> None:
        """Describe a blank photo with a caption of maximal length.

        Raises:
            EncoderError: The model does not accept this kind of prompt, or captions of this length.
        """
        try:
            self._describe([Image.new("RGB", (64, 48))], min_new_tokens=self.max_tokens)
        except _MISFIT as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise EncoderError(
                f"{self.name} does not write captions of {self.max_tokens} tokens ({reason}); give fewer "
                f"caption.max_tokens, or caption.prompt if it requires a prompt"
            ) from None

    def _each(self, photos: Sequence[Image.Image]) -> list[str]:
        """As `_describe`; a photo that the preprocessing refuses, such as a strip of pixels, affects no other."""
        try:
            return self._describe(photos)
        except ValueError:
            return [""] if len(photos) == 1 else [self._each([photo])[0] for photo in photos]

    def _describe(self, photos: Sequence[Image.Image], **options: Any) -> list[str]:
        with self._lock:
            prompted = self._prompter(photos)
        model = self.model
        inputs = {name: value for name, value in prompted.items() if self._reads(name)}
        inputs = {name: _placed(value, model) for name, value in inputs.items()}
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": self.max_tokens, **options}
        with running():
            tokens = model.generate(**inputs, **options)
        question = inputs.get("input_ids")
        # Chat models repeat the prompt before the answer.
        if question is not None and torch.equal(tokens[:, : question.shape[1]], question):
            tokens = tokens[:, question.shape[1] :]
        with self._lock:
            return [single_line(text) for text in self._decode(tokens)]

    def _reads(self, name: str) -> bool:
        """Whether the model accepts this input: tokenizers return token types even for models that have none."""
        return name != "token_type_ids" or name in self._takes


def load_captioner(
    name: str, prompt: str | None, max_tokens: int, device: torch.device | None = None
) -> Captioner:
    """Load a captioning model and try it out.

    Args:
        name: ``hf:<model id or folder>``; the folder holds safetensors, a tokenizer and an image processor.
        prompt: The question for a model with a chat template (None: `CHAT_PROMPT`); for other models the beginning
            of the caption, or the task.
        max_tokens: Maximal number of tokens of a caption.
        device: The CPU, when left out.

    Raises:
        EncoderError: The model is missing, does not caption photos, or accepts no prompt.
    """
    transformers.logging.set_verbosity_error()  # generation would repeat its advice for every photo
    folder = check_captioner(name)
    model: Any = huggingface.load_pretrained(name, folder, transformers.AutoModelForImageTextToText)
    processor, image_processor, tokenizer = _processors(folder)
    tokenizer.padding_side = "left"  # generation continues after the last token of the prompt
    if getattr(processor, "chat_template", None):
        prompter = prompt_as_chat(processor, prompt or CHAT_PROMPT)
    elif prompt is None:
        prompter = prompt_with_pixels(image_processor)
    elif processor is None or model.config.model_type in _WITHOUT_PROMPT:
        raise EncoderError(f"{name} describes photos without a prompt; omit caption.prompt")
    else:
        prompter = prompt_with_text(processor, prompt)

    def decode(tokens: torch.Tensor) -> list[str]:
        return list(tokenizer.batch_decode(tokens, skip_special_tokens=True))

    # On a CPU, half precision has slow kernels or none.
    device = device or torch.device("cpu")
    model = (model.float() if device.type == "cpu" else model).to(device)
    captioner = Captioner(name, model, prompter, decode, max_tokens)
    captioner.try_out()
    return captioner


def check_captioner(name: str) -> Path:
    """The folder of a captioning model, without loading it.

    Raises:
        EncoderError: The name is unknown, or the model is neither a folder nor available from the hub.
    """
    source, _, spec = name.partition(":")
    if source != SOURCE or not spec:
        raise EncoderError(f"unknown captioner {name!r}; use {SOURCE}:<hub id or folder>")
    return huggingface.resolve(spec)


def captioner_identity(name: str) -> dict[str, str]:
    """What determines a captioner's output (digests of configuration and weights), and its name.

    The name is the last component of the hub id or folder: the same model has the same identity wherever it is stored.
    """
    spec = name.partition(":")[2]
    check_captioner(name)
    return huggingface.identity(spec) | {"captioner": spec.rstrip("/").rpartition("/")[2]}


def _processors(folder: Path) -> tuple[Any | None, Any, Any]:
    """Processor (None if the model has none of its own), image processor, tokenizer."""
    words = ("has no usable processor", "a captioner needs its own tokenizer and preprocessor_config.json")
    processor = from_folder(transformers.AutoProcessor, folder, *words)
    if hasattr(processor, "image_processor") and hasattr(processor, "tokenizer"):
        return processor, processor.image_processor, processor.tokenizer
    return (
        None,
        from_folder(transformers.AutoImageProcessor, folder, *words),
        from_folder(transformers.AutoTokenizer, folder, *words),
    )


def _placed(value: Any, model: Any) -> Any:
    """Move inputs to the model's device; pixels also to its precision."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
