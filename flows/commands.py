"""Every `mmer` command: jobs, search, prediction, and the artifact store.

What this imports takes seconds; `flows.cli` is what starts, and imports it.
"""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError, UnknownOptionError
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flows import (
    artifacts_cli,
    attack_cli,
    data_cli,
    deploy_cli,
    jobs,
    model_cli,
    poisoning,
    predict_cli,
    query_cli,
    search_cli,
    serve_cli,
)
from flows.configurations import configuration_source
from flows.saying import say
from flows.terminal import progress_bars
from mmer_core import __version__, log
from mmer_core.config import (
    EvaluateJob,
    FineTuneJob,
    IndexJob,
    IngestJob,
    PipelineConfig,
    PoisonJob,
    ReportJob,
    RobustnessJob,
    SeedsJob,
    UpdateIndexJob,
)
from mmer_core.errors import ConfigError
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey
from tasks import logs

HELP = """How well, and how safely, does a model that reads an image together with text recognise emotion and
match images to text?

Start here:

    mmer pipeline --config demo        everything on drawn miniature datasets, in minutes
    mmer data check --dataset emotic --root DIR      everything that is wrong with your data
    mmer ingest --dataset emotic --root DIR          look at your data first
    mmer pipeline --datasets.emotic.root DIR         the whole study on your data
    mmer search "two dogs in the snow"               after a pipeline run
    mmer serve                                       the same as a page in the browser
    mmer artifacts ls                                what has been made

Every job takes --config FILE (TOML, YAML or JSON; or 'demo') for its flags, and flags override it. Whatever is
in the store already is not made again. With PREFECT_API_URL set (or --prefect) a job runs as a Prefect flow
and shows in the UI with progress and artifacts. MMER_LOG=json (or text) tells every step on standard error."""

# Lists as people write them: --families separate joint.
app = App(
    name="mmer",
    help=HELP,
    version=__version__,
    default_parameter=Parameter(consume_multiple=True),
    suppress_keyboard_interrupt=False,
)
app.command(artifacts_cli.app)
app.command(data_cli.app)
search_cli.add_to(app)
serve_cli.add_to(app)

predict_cli.add_to(app)
attack_cli.add_to(app)
model_cli.add_to(app)
deploy_cli.add_to(app)

Flags = Parameter(name="*")
Prefect = Annotated[
    bool | None,
    Parameter(help="Run as a Prefect flow; by default where PREFECT_API_URL is set, else as plain Python."),
]


@app.command
def pipeline(config: Annotated[PipelineConfig, Flags] = PipelineConfig(), *, prefect: Prefect = None) -> None:
    """Run everything from raw datasets to the robustness report."""
    key = _run(jobs.pipeline, config, prefect)
    _print_report(config.runtime, key)


@app.command
def ingest(job: Annotated[IngestJob, Flags] = IngestJob(), *, prefect: Prefect = None) -> None:
    """Prepare a dataset: raw files to arrays, CSV, a quarantine report and a dataset card."""
    made = _run(jobs.ingest, job, prefect)
    query_cli.print_card(Context(job.runtime), *map(ArtifactKey.parse, made))


@app.command
def train(job: Annotated[SeedsJob, Flags] = SeedsJob(), *, prefect: Prefect = None) -> None:
    """Train one model on one dataset and print its metrics; with --seeds, several and their spread."""
    if job.seeds > 1:
        models = _run(jobs.seeds, job, prefect)
        query_cli.print_spread(Context(job.runtime), [ArtifactKey.parse(one.evaluation) for one in models])
        say(*(f"model {one.model}" for one in models))
        return
    trained = _run(jobs.train, job, prefect)
    query_cli.print_metrics(Context(job.runtime), ArtifactKey.parse(trained.evaluation))
    say(f"model {trained.model}")


@app.command
def finetune(job: Annotated[FineTuneJob, Flags] = FineTuneJob(), *, prefect: Prefect = None) -> None:
    """Adapt encoders to a dataset; print the name by which every job then takes them."""
    key = ArtifactKey.parse(_run(jobs.finetune, job, prefect))
    query_cli.print_history(Context(job.runtime), key)
    say(f"adapted:{key}")


@app.command
def evaluate(job: Annotated[EvaluateJob, Flags] = EvaluateJob(), *, prefect: Prefect = None) -> None:
    """Evaluate a trained model, or a dual encoder without training, on any split of any dataset."""
    key = ArtifactKey.parse(_run(jobs.evaluate, job, prefect))
    query_cli.print_metrics(Context(job.runtime), key)
    say(key)


@app.command
def index(job: Annotated[IndexJob, Flags] = IndexJob(), *, prefect: Prefect = None) -> None:
    """Build the FAISS index that `mmer search` looks in, and print what searches find and how fast."""
    key = ArtifactKey.parse(_run(jobs.index, job, prefect))
    query_cli.print_index(Context(job.runtime), key)
    say(key)


@app.command
def update_index(
    job: Annotated[UpdateIndexJob, Flags] = UpdateIndexJob(), *, prefect: Prefect = None
) -> None:
    """Add photos to an index or delete some, as a new version of it that searches then take.

    For example --delete 1000268201.jpg, or --dataset manifest --root new.csv, or --compact yes.
    """
    key = ArtifactKey.parse(_run(jobs.update_index, job, prefect))
    query_cli.print_index(Context(job.runtime), key)
    say(key)


@app.command
def robustness(job: Annotated[RobustnessJob, Flags] = RobustnessJob(), *, prefect: Prefect = None) -> None:
    """Attack a model with changed pixels and print how often it was fooled."""
    key = _run(jobs.robustness, job, prefect)
    query_cli.print_curves(Context(job.runtime), ArtifactKey.parse(key))


@app.command
def poison(job: Annotated[PoisonJob, Flags] = PoisonJob(), *, prefect: Prefect = None) -> None:
    """Poison the training data, train both families on it, and tell what it did to each."""
    key = ArtifactKey.parse(_run(poisoning.poison, job, prefect))
    query_cli.print_poisoning(Context(job.runtime), key)


@app.command
def report(job: Annotated[ReportJob, Flags] = ReportJob(), *, prefect: Prefect = None) -> None:
    """Write the report from models that were trained and measured before."""
    _print_report(job.runtime, _run(jobs.report, job, prefect))


def run(tokens: Sequence[str]) -> None:
    """Run one command.

    Raises:
        ConfigError: The command line, or a configuration that it names, is not as it must be.
        MmerError: The command failed.
    """
    logs.start()
    rest, app.config = configuration_source(list(tokens))
    try:
        app(rest, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise ConfigError(_sentence(error)) from None


def _run(flow: Any, job: Any, prefect: bool | None) -> Any:
    """Run a flow as plain Python with progress bars, or through Prefect."""
    if prefect if prefect is not None else bool(os.environ.get("PREFECT_API_URL")):
        return flow(job)
    if log.wanted():
        return flow.fn(job)
    with progress_bars():
        return flow.fn(job)


def _print_report(runtime: Any, key: str) -> None:
    say(Context(runtime).folder(ArtifactKey.parse(key)) / "report.html")


def _sentence(error: CycloptsError) -> str:
    """One line of what is wrong with the command line."""
    if isinstance(error.__cause__, ValidationError):
        faults = error.__cause__.errors(include_url=False)
        # A list that lost its faulty items is faulty in turn: only the items are worth telling.
        return "; ".join(_fault(fault) for fault in faults if not any(map(partial(_inside, fault), faults)))
    sentence = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, UnknownOptionError) and "Did you mean" not in sentence:
        return f"{sentence} {_cure(error)}"
    return sentence.replace(". give ", "; give ")  # our validators' words, behind cyclopts' own


def _cure(error: UnknownOptionError) -> str:
    """The option that is named like an unknown one below another heading (--epochs: --training.epochs), or the help."""
    ends = {
        name.lstrip("-").rpartition(".")[2]: name for of in error.argument_collection for name in of.names
    }
    wanted = (error.token.keyword or error.token.value).lstrip("-").partition("=")[0].rpartition(".")[2]
    if close := get_close_matches(wanted, ends, n=1, cutoff=0.8):
        return f"Did you mean {ends[close[0]]}?"
    return f"{' '.join(['mmer', *(error.command_chain or ())])} --help lists those there are."


def _inside(outer: ErrorDetails, inner: ErrorDetails) -> bool:
    return inner is not outer and inner["loc"][: len(outer["loc"])] == outer["loc"]


def _fault(fault: ErrorDetails) -> str:
    """A value that pydantic refused, under the name of its flag."""
    message = fault["msg"].removeprefix("Value error, ")
    fields = [field for field in fault["loc"] if isinstance(field, str)]
    if fields[:1] in (["dataset"], ["runtime"]):  # their flags have no prefix
        del fields[0]
    if not fields:
        return message
    flag = ".".join(fields).replace("_", "-")
    # A fault of several fields together would show them all, as Python prints a dictionary.
    given = fault["input"]
    value = "" if isinstance(given, dict) else f" {given!r}" if not str(given).strip() else f" {given}"
    return f"--{flag}{value}: {message[0].lower()}{message[1:]}"
