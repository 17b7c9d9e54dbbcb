"""`mmer export`: what can be taken away of a trained model."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flows.terminal import progress_bars
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ConfigError
from mmer_core.exporting import export_model
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey
from tasks.progress import progress_for

Runtime = Annotated[RuntimeConfig, Parameter(name="*")]
Model = Annotated[str, Parameter(help="Key of a model; its beginning will do, or `model` for the newest.")]


def add_to(app: App) -> None:
    """Register the commands."""
    app.command(export)


def export(model: Model = "model", *, to: Path, runtime: Runtime = RuntimeConfig()) -> None:
    """Write a trained model as ONNX files with a description, checked against the model.

    Parameters
    ----------
    to:
        The folder to make, which must not exist yet.
    """
    with progress_bars():
        context = Context(runtime, progress_for("export"))
        differences = export_model(context, _model(context, model), to)
    for file, difference in differences.items():
        print(f"{to / file}: at most {difference:.1g} from the model")


def _model(context: Context, text: str) -> ArtifactKey:
    key = context.store.find(text)
    if key.kind != "model":
        raise ConfigError(f"{key} is no model; mmer artifacts ls model lists those that are there")
    return key
