"""The loop: epochs, selection by a validation metric, early stopping, and exact resume.

Everything random in an epoch follows from (seed, epoch), so a checkpoint needs no random state: a run that
was killed anywhere ends with the same weights, bit for bit on CPU, as one that was not.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmer_core.config import TaskTraining
from mmer_core.cuda_graphs import free_memory
from mmer_core.durable import sync
from mmer_core.errors import ConfigError, out_of_memory
from mmer_core.heavy import Tensor, torch
from mmer_core.kernels import float32_kernels
from mmer_core.log import event
from mmer_core.progress import Progress, silent
from mmer_core.seeding import TORCH_RANDOM_STATE
from mmer_core.training import ranks
from mmer_core.training.averaging import WeightAverage
from mmer_core.training.compiling import compiled
from mmer_core.training.learner import Lead, Learner, Losses
from mmer_core.training.randomness import Randomness, randomness
from mmer_core.training.telemetry import Figures, metered, tensorboard_curves

_CHECKPOINT = "checkpoint.pt"
_LEAST_STEPS = 8  # a small dataset would hardly move in the one step an epoch that a large batch leaves it
_AUTOCAST = ("bfloat16", "float16")

Row = Figures


@dataclass
class Progression:
    """How far a training is: everything besides weights and optimiser that a checkpoint holds.

    Attributes:
        epoch: Epochs done.
        history: One row an epoch: ``epoch``, ``train_<loss>``, ``train_loss``, ``val_<metric>``.
        best_epoch: The epoch (from 1) whose weights are kept.
        best_value: Its selection metric.
        best_metrics: All its validation metrics.
        best_state: Its weights.
        lead: That epoch's over what training started from, where that is worth keeping; without a clear one, value and
            metrics are those of the start.
        costs: One row an epoch, see `telemetry.metered`; they differ from run to run.
        halved: The epoch from which on the parts of a batch are halves of what was asked for, as the memory of the device was
            full; 0 where it never was.
    """

    epoch: int = 0
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    best_metrics: Row = field(default_factory=dict)
    best_state: dict[str, Tensor] = field(default_factory=dict)
    lead: Lead | None = None
    costs: list[Row] = field(default_factory=list)
    halved: int = 0


def seed_everything(seed: int) -> int:
    """Seed torch on every device; return the seed, so that it can be logged."""
    torch.manual_seed(seed)
    return seed


@contextlib.contextmanager
def initialisation(seed: int) -> Iterator[int]:
    """Random state in which a model is built; keeps out trainings in other threads of this process."""
    with TORCH_RANDOM_STATE:
        yield seed_everything(seed)


def fit(
    learner: Learner,
    config: TaskTraining,
    *,
    device: torch.device,
    compile: bool = False,
    checkpoints: Path | None = None,
    checkpoint_seconds: float = 0.0,
    logs: Path | None = None,
    progress: Progress = silent,
    fields: str = "training",
) -> Progression:
    """Train, leave the learner with the weights of its best epoch, and return the progression.

    Where training starts from something worth keeping, the labels are predicted as by that unless the best epoch has a
    clear lead on val: the simpler model is kept unless val says otherwise, as by the rule of one standard error (Hastie,
    Tibshirani and Friedman 2009, *The Elements of Statistical Learning*, section 7.10).

    Args:
        learner: Model, data and objectives; moved to ``device``.
        compile: Use torch.compile, where there is a compiler.
        checkpoints: Folder for the checkpoint; when one is there, training goes on from it. Of several processes that
            compute one training (`mmer_core.training.ranks`), that of the first counts.
        checkpoint_seconds: Least time between two checkpoints; with 0 there is one after every epoch.
        logs: Folder for TensorBoard event files of this training.
        fields: What the settings are called on the command line, for the message of a training that diverged.

    Raises:
        ConfigError: Training diverged, or the validation metric is not defined. Nothing is kept of that epoch.
    """
    kernels = float32_kernels(tf32=precision_on(device, config) == "tf32")
    with (
        randomness(learner, device, compiled=compile) as source,
        kernels,
        contextlib.ExitStack() as stack,
    ):
        learner.state.to(device)
        ranks.take_state(learner.state)
        trainer = _Trainer(learner, config, device, source, compile, fields)
        state = trainer.restore(checkpoints)
        curves = stack.enter_context(tensorboard_curves(logs, state.epoch))
        saved = time.monotonic()

        def keep_better(metrics: Row) -> None:
            value = metrics[f"val_{learner.selection}"]
            if value > state.best_value:
                state.best_epoch, state.best_value, state.best_metrics = state.epoch, value, metrics
                with trainer.average.applied():
                    state.best_state = copy.deepcopy(learner.state.state_dict())

        while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
            cost: Row = {}
            with metered(device, len(learner), cost):
                row = ranks.figures_of_first(trainer.epoch(state.epoch))
            state.epoch += 1
            if trainer.halves and not state.halved:
                state.halved = state.epoch
            state.costs.append(cost)
            curves(state.epoch, row | cost)
            state.history.append({"epoch": state.epoch, **row})
            value = row[f"val_{learner.selection}"]
            if not math.isfinite(value):
                raise ConfigError(
                    f"the validation metric {learner.selection} is {value} after epoch {state.epoch}, so no epoch can be "
                    "chosen by it: see that val holds positive labels"
                )
            keep_better({name: figure for name, figure in row.items() if name.startswith("val_")})
            # Writing one to disk for good takes longer than an epoch on a small dataset.
            if time.monotonic() - saved >= checkpoint_seconds:
                trainer.save(state, checkpoints)
                saved = time.monotonic()
            progress(
                state.epoch, config.epochs, f"loss {row['train_loss']:.3f}, {learner.selection} {value:.2f}"
            )
        learner.state.load_state_dict(state.best_state)
        learner.state.eval()
        state.lead = learner.settle(state.epoch)
        if state.lead is not None and not state.lead.clear:
            state.best_metrics = trainer.validated()
            state.best_value = state.best_metrics[f"val_{learner.selection}"]
    return state


def steps_an_epoch(samples: int, batch_size: int) -> int:
    """Steps of an epoch: few samples make more of them than their batches would."""
    return max(math.ceil(samples / batch_size), min(_LEAST_STEPS, samples // 2), 1)


def precision_on(device: torch.device, config: TaskTraining) -> str:
    """The precision of a training on a device."""
    return config.precision if device.type == "cuda" else "float32"


_Part = tuple[float, Losses]  # a part's share of its batch, and its losses


def _mean_losses(steps: list[tuple[int, list[_Part]]]) -> dict[str, float]:
    """By name, over the samples of all steps, each a batch's size and parts; read from the device at once."""
    every = [loss for _, parts in steps for _, losses in parts for loss in losses.values()]
    values = iter(torch.stack(every).tolist())
    sums: dict[str, float] = {}
    samples = sum(size for size, _ in steps)
    for size, parts in steps:
        of_step: dict[str, float] = {}
        for share, losses in parts:
            for name in losses:
                of_step[name] = of_step.get(name, 0.0) + share * next(values)
        for name, value in of_step.items():
            sums[name] = sums.get(name, 0.0) + value * size / samples
    return sums


def _rates(config: TaskTraining, steps: int) -> Callable[[int], float]:
    """Of every step the learning rate as a share of the highest: a linear warm-up, then a cosine."""
    total = config.epochs * steps
    warmup = config.warmup * total

    def rate(step: int) -> float:
        if step < warmup:
            return min(1.0, (step + 1) / warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))

    return rate


class _Trainer:
    def __init__(
        self,
        learner: Learner,
        config: TaskTraining,
        device: torch.device,
        source: Randomness,
        compile: bool = False,
        fields: str = "training",
    ) -> None:
        self.learner, self.config, self.device, self.fields = learner, config, device, fields
        self.source = source
        self.losses = compiled(learner.losses, device) if compile else learner.losses
        self.steps = steps_an_epoch(len(learner), config.batch_size)
        self.parameters = [p for p in learner.state.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.average = WeightAverage(self.parameters, config.average)
        self.halves = False
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, _rates(config, self.steps))
        self.autocast: Any = contextlib.nullcontext
        precision = precision_on(device, config)
        if precision in _AUTOCAST:
            self.autocast = lambda: torch.autocast("cuda", getattr(torch, precision))
        # Only float16 needs its gradients scaled; a disabled scaler passes them through.
        scaled = precision == "float16"
        self.scaler = torch.amp.GradScaler(device.type if scaled else "cpu", enabled=scaled)

    def epoch(self, index: int) -> Row:
        """One pass over the training split and one look at the validation split."""
        self.source.seed((self.config.seed * 1_000_003 + index) % 2**63)
        self.learner.state.train()
        order = torch.randperm(len(self.learner), generator=self.source.generator)
        steps = [(len(rows), self._step(rows)) for rows in order.tensor_split(self.steps)]
        sums = _mean_losses(steps)
        self.learner.state.eval()
        row = {f"train_{name}": value for name, value in sums.items()}
        row["train_loss"] = sum(sums.values())
        self._check(index + 1, row["train_loss"])
        with self.average.applied():
            return row | self.validated()

    def validated(self) -> Row:
        """The metrics on the validation split."""
        return {f"val_{name}": value for name, value in self.learner.validate().items()}

    def _check(self, epoch: int, loss: float) -> None:
        """Raises `ConfigError` when loss or weights are no numbers any more: what came of them would be no model."""
        what = f"the loss is {loss}" if not math.isfinite(loss) else "weights are not finite"
        finite = torch.stack([p.isfinite().all() for p in self.parameters]).all()
        if math.isfinite(loss) and bool(finite):
            return
        raise ConfigError(
            f"the training with seed {self.config.seed} diverged in epoch {epoch}: {what}; lower "
            f"--{self.fields}.learning-rate, which is {self.config.learning_rate:g}"
        )

    def _step(self, rows: Tensor) -> list[_Part]:
        """One step on a batch, whose gradient is the sum over its parts, each by its share of the batch.

        The losses stay on the device: reading them would wait for the step.
        """
        logged = self._fitting(rows)
        ranks.average_gradients(self.parameters)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        self.average.update()
        return logged

    def _fitting(self, rows: Tensor) -> list[_Part]:
        """Gradients in parts that fit into the memory; once it is full, in twice as many from then on.

        Raises:
            ConfigError: These are too large as well.
        """
        # Ranks exchange features within a batch, so one cannot go back to its start alone.
        if not self.halves and ranks.size() == 1:
            try:
                return self._gradients(rows)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                before, self.halves = self._parts(rows), True
            event(
                f"the memory of the device is too small to train on {len(rows)} samples in {before} "
                f"part{'' if before == 1 else 's'}, so training goes on with {self._parts(rows)}, as with a doubled "
                f"--{self.fields}.accumulate",
                level=logging.WARNING,
            )
            free_memory()
        try:
            return self._gradients(rows)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise ConfigError(
                f"the memory of the device is too small to train on {len(rows)} samples with --{self.fields}.accumulate "
                f"{self._parts(rows)}; give a smaller --{self.fields}.batch-size, or a larger --{self.fields}.accumulate"
            ) from error

    def _parts(self, rows: Tensor) -> int:
        """In how many parts the gradient of a batch is computed."""
        # A part of one sample would leave contrastive objectives nothing to contrast.
        return min(self.config.accumulate * (2 if self.halves else 1), max(1, len(rows) // 2))

    def _gradients(self, rows: Tensor) -> list[_Part]:
        """Sets the gradients of the losses of a batch, and returns the losses."""
        self.optimiser.zero_grad(set_to_none=True)
        logged: list[_Part] = []
        for part in rows.tensor_split(self._parts(rows)):
            share = len(part) / len(rows)
            with self.autocast():
                losses = self.losses(part)
                total = share * torch.stack(list(losses.values())).sum()
            self.scaler.scale(total).backward()
            logged.append((share, {name: loss.detach() for name, loss in losses.items()}))
        return logged

    def save(self, state: Progression, folder: Path | None) -> None:
        """Replace the checkpoint; a crash leaves the old one or the new one, never half of one."""
        if folder is None or ranks.rank():
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{_CHECKPOINT}.partial"
        with temporary.open("wb") as file:
            torch.save(
                {
                    "learner": self.learner.state.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "schedule": self.schedule.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "average": self.average.state_dict(),
                    "progression": vars(state),
                },
                file,
            )
            file.flush()
            sync(file.fileno())
        temporary.replace(folder / _CHECKPOINT)

    def restore(self, folder: Path | None) -> Progression:
        checkpoint = ranks.file_of_first(folder / _CHECKPOINT) if folder else None
        if checkpoint is None:
            return Progression()
        # What counts the optimiser's steps belongs on the CPU; all else is copied into what is on the device.
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        self.learner.state.load_state_dict(saved["learner"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.schedule.load_state_dict(saved["schedule"])
        self.scaler.load_state_dict(saved["scaler"])
        self.average.load_state_dict(saved["average"])
        state = Progression(**saved["progression"])
        self.halves = bool(state.halved)
        return state
