"""Every job and command, declared once. The command line, deployments, the guide's table and the tests follow from this.

Functions and classes are named by import path, so reading the table imports neither Prefect nor torch: a command imports
what it runs when it is chosen.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        name: Name of the command, of the flow and of the deployment.
        flow: Import path of the flow. Its one parameter is the job's configuration.
        config: Import path of the configuration's class, apart from the flow, whose import takes seconds.
        show: Import path of the function that prints a result: it takes a `Context` and what the flow returned.
        help: Help of the command; the first line says what the job does.
        example: A command line that people use.
        usual: Flags that people use most; ``--help`` describes them, and ``--help-all`` every flag.
        repeats: Name of the job that this one repeats. It has no command of its own: the other job's command runs it
            where its configuration asks for ``several``.
    """

    name: str
    flow: str
    config: str
    show: str
    help: str
    example: str
    usual: tuple[str, ...]
    repeats: str | None = None


@dataclass(frozen=True)
class Command:
    """A command that runs no flow, or a group of such commands; ``run`` is the import path of what runs."""

    name: str
    run: str
    help: str


_DATA = ("dataset", "root")
_FEATURES = (*_DATA, "encoders.image", "encoders.text")
_MODEL = (*_FEATURES, "model.family")
_WHERE = ("store", "workers", "device")

JOBS = (
    Job(
        "pipeline",
        flow="flows.jobs:pipeline",
        config="mmer_core.config:PipelineJob",
        show="flows.results:print_report",
        help="Run everything from raw datasets to the robustness report.",
        example="mmer pipeline --datasets.emotic.root DIR --attack.images 50",
        usual=(
            "families",
            "encoders.image",
            "encoders.text",
            "training.epochs",
            "training.seed",
            "seeds",
            "attack.attacks",
            "attack.pixels",
            "attack.images",
            "attack.budget",
            "report.margin",
            *_WHERE,
        ),
    ),
    Job(
        "ingest",
        flow="flows.jobs:ingest",
        config="mmer_core.config:IngestJob",
        show="flows.results:print_ingest",
        help="Prepare a dataset: raw files to arrays, CSV, a quarantine report and a dataset card.",
        example="mmer ingest --dataset manifest --root photos.csv",
        usual=(*_DATA, "context-size", "body-size", "captioner", *_WHERE),
    ),
    Job(
        "train",
        flow="flows.jobs:train",
        config="mmer_core.config:TrainJob",
        show="flows.results:print_train",
        help="Train one model on one dataset and print its metrics; with --seeds, several and their spread.",
        example="mmer train --dataset manifest --root photos.csv --model.family separate",
        usual=(
            *_MODEL,
            "training.epochs",
            "training.learning-rate",
            "training.batch-size",
            "training.seed",
            "seeds",
            *_WHERE,
        ),
    ),
    Job(
        "seeds",
        flow="flows.jobs:seeds",
        config="mmer_core.config:SeedsJob",
        show="flows.results:print_seeds",
        help="Train one model with several seeds and print the spread of its metrics.",
        example="mmer train --seeds 5",
        usual=(*_MODEL, "seeds", *_WHERE),
        repeats="train",
    ),
    Job(
        "finetune",
        flow="flows.jobs:finetune",
        config="mmer_core.config:FinetuneJob",
        show="flows.results:print_finetune",
        help="Adapt encoders to a dataset, and print the name that other jobs use them by.",
        example="mmer finetune --dataset flickr8k --root DIR --encoders.image hf:FOLDER",
        usual=(
            *_FEATURES,
            "finetune.method",
            "finetune.towers",
            "finetune.rank",
            "finetune.epochs",
            "finetune.learning-rate",
            "finetune.processes",
            *_WHERE,
        ),
    ),
    Job(
        "evaluate",
        flow="flows.jobs:evaluate",
        config="mmer_core.config:EvaluateJob",
        show="flows.results:print_evaluate",
        help="Evaluate a trained model, or a dual encoder without training, on any split of any dataset.",
        example="mmer evaluate --model model/DIGEST --dataset manifest --root other.csv",
        usual=(*_DATA, "prepared", "model", "zero-shot", "evaluation.split", "evaluation.labels", *_WHERE),
    ),
    Job(
        "probe",
        flow="flows.probe:probe",
        config="mmer_core.config:ProbeJob",
        show="flows.probe:print_probe",
        help="Fit logistic regression to the features of a labelled dataset, as a baseline beside the models.",
        example="mmer probe --dataset manifest --root photos.csv",
        usual=(*_FEATURES, "probe.strengths", "evaluation.split", *_WHERE),
    ),
    Job(
        "index",
        flow="flows.jobs:index",
        config="mmer_core.config:IndexJob",
        show="flows.results:print_index",
        help="Build the FAISS index that `mmer search` uses, and print its recall and speed.",
        example="mmer index --trained model/DIGEST --index.split test",
        usual=(*_MODEL, "trained", "index.factory", "index.split", "index.recall", *_WHERE),
    ),
    Job(
        "update-index",
        flow="flows.jobs:update_index",
        config="mmer_core.config:UpdateIndexJob",
        show="flows.results:print_index",
        help="Add photos to an index or delete photos from it, as a new version that searches then use.\n\n"
        "For example --delete 1000268201.jpg, or --dataset manifest --root new.csv, or --compact yes.",
        example="mmer update-index --dataset manifest --root new.csv",
        usual=("index", *_DATA, "split", "delete", "delete-from", "compact", *_WHERE),
    ),
    Job(
        "robustness",
        flow="flows.jobs:robustness",
        config="mmer_core.config:RobustnessJob",
        show="flows.results:print_robustness",
        help="Attack a model with changed pixels and print how often it was fooled.",
        example="mmer robustness --trained model/DIGEST --attack.pixels 1 5 --attack.images 200",
        usual=(
            *_DATA,
            "model.family",
            "trained",
            "attack.attacks",
            "attack.pixels",
            "attack.images",
            "attack.budget",
            "attack.stream",
            "attack.criterion",
            "defence",
            *_WHERE,
        ),
    ),
    Job(
        "defences",
        flow="flows.defences:defences",
        config="mmer_core.config:DefencesJob",
        show="flows.defences:print_defences",
        help="Attack a model without and with defences and print what each helps and costs.",
        example="mmer robustness --defence median jpeg:75 adversarial",
        usual=(*_DATA, "model.family", "defence", "attack.pixels", "attack.images", *_WHERE),
        repeats="robustness",
    ),
    Job(
        "transfer",
        flow="flows.transfer:transfer",
        config="mmer_core.config:TransferJob",
        show="flows.transfer:print_transfer",
        help="Show the successful attacks on each model to the others, and print how many those fall for.",
        example="mmer transfer --models model/DIGEST model/OTHER",
        usual=("models", *_WHERE),
    ),
    Job(
        "poison",
        flow="flows.poisoning:poison",
        config="mmer_core.config:PoisonJob",
        show="flows.results:print_poison",
        help="Poison the training data, train both families on it, and print the effect on each.",
        example="mmer poison --dataset manifest --root photos.csv --poison.counts 10 50",
        usual=(
            *_DATA,
            "families",
            "poison.attacks",
            "poison.target",
            "poison.counts",
            "poison.seeds",
            "poison.trigger",
            "poison.detectors",
            *_WHERE,
        ),
    ),
    Job(
        "nightly",
        flow="flows.nightly:nightly",
        config="mmer_core.config:NightlyJob",
        show="flows.nightly:print_nightly",
        help="Run the whole study, and compare it with that of the night before.\n\n"
        "What has not changed is found in the store. Where a figure moved beyond its interval, the log warns, and a run in "
        "Prefect emits the event mmer.nightly.moved, of which mmer deploy makes a notification.",
        example="mmer nightly --datasets.emotic.root DIR --series emotic",
        usual=(
            "families",
            "seeds",
            "training.epochs",
            "attack.attacks",
            "attack.images",
            "report.margin",
            "series",
            *_WHERE,
        ),
    ),
    Job(
        "report",
        flow="flows.jobs:report",
        config="mmer_core.config:ReportJob",
        show="flows.results:print_report",
        help="Write the report on trained and evaluated models.",
        example="mmer report --dataset emotic --root emotic",
        usual=(*_DATA, "prepared", "models", "report.title", "report.margin", "report.gallery", *_WHERE),
    ),
)

COMMANDS = (
    Command(
        "artifacts",
        run="flows.artifacts_cli:app",
        help="List, inspect, fetch, verify and delete artifacts.",
    ),
    Command(
        "attack",
        run="flows.attack_cli:attack",
        help="Attack one photo by changing a few pixels, and save pictures of the result.\n\n"
        "For every attack and every number of pixels two PNG files are written: before and after side by "
        "side, and the attacked image itself, exactly as the model saw it. To attack a whole split, use "
        "`mmer robustness`.",
    ),
    Command(
        "card",
        run="flows.model_cli:card",
        help="Print a model's card: its data, figures, use and limits, configuration, and the licence of its "
        "weights.",
    ),
    Command(
        "compare",
        run="flows.runs_cli:compare",
        help="Compare two models on the same samples: what differs in settings and in results, with intervals.",
    ),
    Command(
        "data",
        run="flows.data_cli:app",
        help="Check a raw dataset before using it.",
    ),
    Command(
        "deploy",
        run="flows.deploy_cli:deploy",
        help="Set up a work pool, deployments, limits and automations on the server at PREFECT_API_URL, or "
        "update them.",
    ),
    Command(
        "doctor",
        run="flows.doctor_cli:doctor",
        help="Say what this installation has, what it lacks, and the command that cures it.",
    ),
    Command(
        "export",
        run="flows.model_cli:export",
        help="Write a trained model as ONNX files with a description, checked against the model.",
    ),
    Command(
        "init",
        run="flows.init_cli:init",
        help="Make a checked manifest from a folder of pictures or from any table.\n\n"
        "Says what it takes each column for and why, which rows it leaves out (unreadable, duplicate, contradictory), and "
        "makes stratified splits that share no picture, no near-identical ones and no group.",
    ),
    Command(
        "monitor",
        run="flows.monitor_cli:monitor",
        help="Serve to Prometheus what runs push and what waits on the server at PREFECT_API_URL, until Ctrl-C.",
    ),
    Command(
        "predict",
        run="flows.predict_cli:predict",
        help="Predict the labels of a photo or of people in it, of a text, of all photos of a folder, or of a CSV "
        "list.\n\n"
        "With --caption, write a caption for each photo instead, by a model that was trained with --training.decoder. A photo "
        "that cannot be read gives a row with its error; the other photos are processed.",
    ),
    Command(
        "recompute",
        run="flows.recompute_cli:recompute_report",
        help="Compute a report's figures again from the stored scores and outcomes, and compare them.",
    ),
    Command(
        "runs",
        run="flows.runs_cli:runs",
        help="List every trained model with its settings and what it reached.",
    ),
    Command(
        "search",
        run="flows.search_cli:search",
        help="Search a FAISS index by text, by photo, by the id of a photo in it, or by many of them.",
    ),
    Command(
        "serve",
        run="flows.serve_cli:serve",
        help="Serve an index as a search page and an HTTP service that only reads, until Ctrl-C or "
        "SIGTERM.\n\n"
        "SIGHUP reopens the index: the newest one, unless --index names another.",
    ),
    Command(
        "up",
        run="flows.deploy_cli:up",
        help="Start a Prefect server and a worker on this machine with everything deployed, until Ctrl-C.",
    ),
)
"""The commands that run no flow, and groups of such commands."""


FLAT_FIELDS = ("dataset", "runtime")
"""Fields of jobs whose flags need no prefix: --root and --store rather than --dataset.root and --runtime.store."""


def load(path: str) -> Any:
    """What is at an import path, ``package.module:name``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
