"""The command line: every `mmer` command of `flows.job_table`, by its import path; a command is imported when it is chosen."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from flows import loading
from flows.configurations import configuration_source
from flows.empty_paths import refuse_empty_paths
from flows.job_table import COMMANDS, FLAT_FIELDS, JOBS
from mmer_core import __version__
from mmer_core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

HELP = """How well, and how safely, does a model that reads an image together with text recognise emotion and
match images to text?

Start here:

    mmer pipeline --config demo        everything on drawn miniature datasets, in minutes
    mmer init PHOTOS                                 a dataset from your folder of pictures, or from a table
    mmer data check --dataset emotic --root DIR      everything that is wrong with your data
    mmer ingest --dataset emotic --root DIR          look at your data first
    mmer pipeline --datasets.emotic.root DIR         the whole study on your data
    mmer search "two dogs in the snow"               after a pipeline run
    mmer serve                                       the same as a page in the browser
    mmer artifacts ls                                what has been made

Every job reads its settings from --config FILE (TOML, YAML or JSON; or 'demo'); flags override them. What is in
the store already is not made again. With PREFECT_API_URL set (or --prefect) a job runs as a Prefect flow
and shows in the UI with progress and artifacts. MMER_LOG=json (or text) logs every step to standard error."""

# A list is written as --families separate joint.
app = App(
    name="mmer",
    help=HELP,
    version=__version__,
    version_format="plaintext",
    default_parameter=Parameter(consume_multiple=True),
    suppress_keyboard_interrupt=False,
)
for _job in JOBS:
    if _job.repeats is None:
        app.command(f"flows.job_commands:{_job.name}", name=_job.name, help=_job.help)
for _command in COMMANDS:
    app.command(_command.run, name=_command.name, help=_command.help)
app.register_install_completion_command(help="Let the shell complete commands and options with Tab.")

short_help = False
"""Whether a job's help is asked for, which describes what people use most; not all options, nor their completion."""


def run(tokens: Sequence[str]) -> None:
    """Run one command.

    Raises:
        ConfigError: The command line, or a configuration that it names, is invalid.
        MmerError: The command failed.
    """
    global short_help
    short_help = _asks_for_help(tokens)
    loading.announce()
    rest, sources = configuration_source(list(tokens))
    app.config = [*sources, refuse_empty_paths]
    try:
        app(rest, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise ConfigError(sentence(error)) from None


def _asks_for_help(tokens: Sequence[str]) -> bool:
    return not {"--help", "-h"}.isdisjoint(tokens)


def sentence(error: CycloptsError) -> str:
    """What is wrong with the command line, in one line."""
    from pydantic_core import ValidationError

    if isinstance(error.__cause__, ValidationError):
        faults = error.__cause__.errors(include_url=False)
        # A list with an invalid item is reported as invalid, too: only the item matters.
        return "; ".join(_fault(fault) for fault in faults if not any(map(partial(_inside, fault), faults)))
    if isinstance(error, UnknownCommandError):
        return _unknown(error)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        command = " ".join(["mmer", *(error.command_chain or ())])
        return f"{command} does not take {error.unused_tokens[0]!r}; {command} --help describes its options"
    sentence = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, UnknownOptionError):
        fault, _, guess = sentence.partition(" Did you mean ")
        return f"{fault} {_cure(error, guess)}"
    return sentence.replace(". give ", "; give ")  # our validators' messages follow cyclopts' own


def _unknown(error: UnknownCommandError) -> str:
    """As the parser says it, which would import every command."""
    assert error.unused_tokens
    wanted = error.unused_tokens[0]
    known = [name for name in error.app or () if not name.startswith("-")]
    if close := get_close_matches(wanted, known, n=1):
        return f'Unknown command "{wanted}". Did you mean "{close[0]}"?'
    return f'Unknown command "{wanted}". Available commands: {", ".join(known)}.'


def _cure(error: UnknownOptionError, guess: str) -> str:
    """The options of that name under other headings (--epochs: --training.epochs); or else the parser's guess, an option
    of a similar name, or a pointer to the help."""
    ends: dict[str, list[str]] = {}
    for option in error.argument_collection:
        for name in option.names:
            ends.setdefault(name.lstrip("-").rpartition(".")[2], []).append(name)
    wanted = (error.token.keyword or error.token.value).lstrip("-").partition("=")[0].rpartition(".")[2]
    if wanted not in ends and guess:
        return f"Did you mean {guess}"
    if close := get_close_matches(wanted, ends, n=1, cutoff=0.8):
        return f"Did you mean {' or '.join(ends[close[0]])}?"
    return f"{' '.join(['mmer', *(error.command_chain or ())])} --help lists all options."


def _inside(outer: "ErrorDetails", inner: "ErrorDetails") -> bool:
    return inner is not outer and inner["loc"][: len(outer["loc"])] == outer["loc"]


def _fault(fault: "ErrorDetails") -> str:
    """What pydantic says of an invalid value, with the name of its flag."""
    message = fault["msg"].removeprefix("Value error, ")
    fields = [field for field in fault["loc"] if isinstance(field, str)]
    if fields and fields[0] in FLAT_FIELDS:  # their flags have no prefix
        del fields[0]
    if not fields:
        return message
    flag = ".".join(fields).replace("_", "-")
    # An error of several fields would show them all as a Python dictionary.
    given = fault["input"]
    value = "" if isinstance(given, dict) else f" {given!r}" if not str(given).strip() else f" {given}"
    return f"--{flag}{value}: {message[0].lower()}{message[1:]}"
