"""Every job, declared once. Commands, deployments, the README's table and the tests follow from this table.

Functions are named by import path, so reading the table imports neither Prefect nor torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        name: Name of the command, of the flow and of the deployment.
        flow: Import path of the flow. Its one parameter is the job's configuration.
        show: Import path of the function that prints a result: it takes a `Context` and what the flow returned.
        help: Help of the command; the first line says what the job does.
        repeats: Name of the job that this one repeats. It has no command of its own: the other job's command runs it
            when ``seeds`` is above 1.
    """

    name: str
    flow: str
    show: str
    help: str
    repeats: str | None = None

    @property
    def config(self) -> type[Any]:
        """The class of the job's configuration."""
        hints = get_type_hints(load(self.flow).fn)
        (config,) = (hint for name, hint in hints.items() if name != "return")
        return config


JOBS = (
    Job(
        "pipeline",
        flow="flows.jobs:pipeline",
        show="flows.results:print_report",
        help="Run everything from raw datasets to the robustness report.",
    ),
    Job(
        "ingest",
        flow="flows.jobs:ingest",
        show="flows.results:print_ingest",
        help="Prepare a dataset: raw files to arrays, CSV, a quarantine report and a dataset card.",
    ),
    Job(
        "train",
        flow="flows.jobs:train",
        show="flows.results:print_train",
        help="Train one model on one dataset and print its metrics; with --seeds, several and their spread.",
    ),
    Job(
        "seeds",
        flow="flows.jobs:seeds",
        show="flows.results:print_seeds",
        help="Train one model with several seeds and print the spread of its metrics.",
        repeats="train",
    ),
    Job(
        "finetune",
        flow="flows.jobs:finetune",
        show="flows.results:print_finetune",
        help="Adapt encoders to a dataset, and print the name that other jobs use them by.",
    ),
    Job(
        "evaluate",
        flow="flows.jobs:evaluate",
        show="flows.results:print_evaluate",
        help="Evaluate a trained model, or a dual encoder without training, on any split of any dataset.",
    ),
    Job(
        "index",
        flow="flows.jobs:index",
        show="flows.results:print_index",
        help="Build the FAISS index that `mmer search` uses, and print its recall and speed.",
    ),
    Job(
        "update-index",
        flow="flows.jobs:update_index",
        show="flows.results:print_index",
        help="Add photos to an index or delete photos from it, as a new version that searches then use.\n\n"
        "For example --delete 1000268201.jpg, or --dataset manifest --root new.csv, or --compact yes.",
    ),
    Job(
        "robustness",
        flow="flows.jobs:robustness",
        show="flows.results:print_robustness",
        help="Attack a model with changed pixels and print how often it was fooled.",
    ),
    Job(
        "transfer",
        flow="flows.transfer:transfer",
        show="flows.transfer:print_transfer",
        help="Show the successful attacks on each model to the others, and print how many those fall for.",
    ),
    Job(
        "poison",
        flow="flows.poisoning:poison",
        show="flows.results:print_poison",
        help="Poison the training data, train both families on it, and print the effect on each.",
    ),
    Job(
        "report",
        flow="flows.jobs:report",
        show="flows.results:print_report",
        help="Write the report on trained and evaluated models.",
    ),
)

COMMANDS = {
    "artifacts": "flows.artifacts_cli:app",
    "attack": "flows.attack_cli:attack",
    "card": "flows.model_cli:card",
    "data": "flows.data_cli:app",
    "deploy": "flows.deploy_cli:deploy",
    "export": "flows.model_cli:export",
    "predict": "flows.predict_cli:predict",
    "search": "flows.search_cli:search",
    "serve": "flows.serve_cli:serve",
    "up": "flows.deploy_cli:up",
}
"""Import paths of the commands that run no flow, and of groups of such commands, by name."""


def load(path: str) -> Any:
    """What is at an import path, ``package.module:name``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
