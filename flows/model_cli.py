"""`mmer card` and `mmer export`: the card of a trained model, and the model as ONNX."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.output import say, say_text
from flows.parameters import Runtime
from flows.terminal import progress_bars
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError, MmerError
from mmer_core.exporting import export_model
from mmer_core.files import write_whole
from mmer_core.stages import Context, model_card, newest_models
from mmer_core.stages.lineage import model_named
from mmer_core.stages.model_card import CARD_FILE, FIELDS_FILE
from tasks.progress import progress_for

Model = Annotated[str, Parameter(help="Key of a model, or a unique prefix of it; `model` for the newest.")]


def card(model: Model = "model", *, to: Path | None = None, runtime: Runtime = RuntimeConfig()) -> None:
    """`mmer card`.

    Parameters
    ----------
    to:
        Write it to this file instead, as .md, or as .json for programs.
    """
    context = Context(runtime)
    (artifacts,) = newest_models(context.store, (str(model_named(context.store, model).key),))
    made = model_card(context, artifacts.prepared, artifacts.model, artifacts.evaluation)
    if to is None:
        say_text((made.folder / CARD_FILE).read_text("utf-8"))
        return
    files = {".md": CARD_FILE, ".json": FIELDS_FILE}
    if to.suffix not in files:
        raise ConfigError(f"{to} must end in .md or .json, which sets its format")
    try:
        write_whole(to, (made.folder / files[to.suffix]).read_text("utf-8"))
    except OSError as error:
        raise MmerError(f"cannot write {to} ({error.strerror}); name a file in a writable folder") from None
    say(to)


def export(model: Model = "model", *, to: Path, runtime: Runtime = RuntimeConfig()) -> None:
    """`mmer export`.

    Parameters
    ----------
    to:
        The folder to make, which must not exist yet.
    """
    with progress_bars(runtime.quiet):
        context = Context(runtime, progress_for("export"))
        differences = export_model(context, model_named(context.store, model).key, to)
    for file, difference in differences.items():
        say(f"{to / file}: at most {difference:.1g} from the model")
