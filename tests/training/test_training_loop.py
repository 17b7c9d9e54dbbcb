"""The loop: resume, selection, patience, seeds, schedule; and that it learns what there is to learn."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from support.toy_training import CPU, TOGETHER, config, emotion_data, learner, retrieval_data, same
from torch import nn

from mmer_core.evaluation.retrieval_metrics import chance_retrieval
from mmer_core.training.learner import Lead
from mmer_core.training.loop import fit


class Killed(Exception):
    pass


class Scripted:
    """One number that grows with every step, and validation values known in advance."""

    selection = "score"
    lead: Lead | None = None

    def __init__(self, scores: list[float], size: int = 10) -> None:
        self.state = nn.Linear(1, 1)
        self.scores, self.size = iter(scores), size
        self.batches: list[list[int]] = []
        self.validated: list[dict[str, torch.Tensor]] = []
        self.modes: list[bool] = []

    def __len__(self) -> int:
        return self.size

    def losses(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        self.batches.append(rows.tolist())
        self.modes.append(self.state.training)
        # The value is the mean row number, the slope is 1 whatever the parameters.
        slope = self.state.weight.sum() - self.state.weight.sum().detach()
        return {"rows": slope + rows.float().mean(), "one": slope + 1.0}

    def validate(self) -> dict[str, float]:
        self.modes.append(self.state.training)
        self.validated.append({name: value.clone() for name, value in self.state.state_dict().items()})
        return {"score": next(self.scores), "other": 0.0}

    def settle(self, epochs: int) -> Lead | None:
        self.epochs = epochs
        return self.lead


@pytest.mark.parametrize(("task", "family"), TOGETHER)
def test_a_training_killed_after_every_epoch_ends_as_if_it_never_was(tmp_path, task, family):
    training = config()
    whole = learner(task, family, training)
    expected = fit(whole, training, device=CPU)

    def killer(done: int, total: int, note: str = "") -> None:
        raise Killed

    for epoch in range(training.epochs):
        # What comes after the first epoch must come from the checkpoint, not from how the model starts.
        resumed = learner(task, family, training, start=None if epoch == 0 else 99)
        torch.manual_seed(epoch)
        with pytest.raises(Killed):
            fit(resumed, training, device=CPU, checkpoints=tmp_path, progress=killer)
    resumed = learner(task, family, training, start=99)
    found = fit(resumed, training, device=CPU, checkpoints=tmp_path)
    assert found.history == expected.history
    assert len(found.history) == training.epochs
    assert (found.best_epoch, found.best_value) == (expected.best_epoch, expected.best_value)
    assert same(resumed.state, whole.state)


def test_a_kill_in_the_middle_of_an_epoch_repeats_only_that_epoch(tmp_path):
    training = config(epochs=3, patience=3, batch_size=5)
    whole = learner("emotion", "joint", training)
    expected = fit(whole, training, device=CPU)
    killed, calls = learner("emotion", "joint", training), 0
    losses = killed.losses

    def failing(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 12:  # second batch of the second epoch
            raise Killed
        return losses(rows)

    killed.losses = failing
    with pytest.raises(Killed):
        fit(killed, training, device=CPU, checkpoints=tmp_path)
    (tmp_path / "checkpoint.pt.partial").write_bytes(b"half a checkpoint")
    resumed = learner("emotion", "joint", training, start=99)
    assert fit(resumed, training, device=CPU, checkpoints=tmp_path).history == expected.history
    assert same(resumed.state, whole.state)


def test_a_finished_training_is_not_trained_again(tmp_path):
    first = Scripted([1.0, 3.0, 2.0])
    fit(first, config(epochs=3, patience=3), device=CPU, checkpoints=tmp_path)
    again = Scripted([])
    fit(again, config(epochs=3, patience=3), device=CPU, checkpoints=tmp_path)
    assert not again.batches
    assert same(again.state, first.state)


@pytest.mark.parametrize(
    ("lead", "value"), [(Lead(1.0, 0.9), 5), (Lead(1.0, 1.0), 4), (Lead(1.0, math.nan), 4), (None, 5)]
)
def test_without_a_clear_lead_the_figures_are_those_of_the_start(lead, value):
    one = Scripted([1, 5, 3, 4])
    one.lead = lead
    state = fit(one, config(epochs=3, patience=3), device=CPU)
    assert (state.best_epoch, state.best_value, one.epochs) == (2, value, 3)
    assert state.best_metrics == {"val_score": value, "val_other": 0.0}


@pytest.mark.parametrize(
    ("scores", "patience", "epochs", "best"),
    [
        ([1, 2, 3, 4], 2, 4, 4),
        ([5, 1, 2, 9], 2, 3, 1),
        ([5, 1, 9, 2, 3, 10], 2, 5, 3),
        ([1, 1, 1, 1], 3, 4, 1),  # the same again is not better
        ([-7.0], 1, 1, 1),
    ],
)
def test_patience_stops_and_the_best_epoch_is_kept(scores, patience, epochs, best):
    scripted = Scripted(scores)
    seen = []
    found = fit(
        scripted,
        config(epochs=len(scores), patience=patience),
        device=CPU,
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert (found.epoch, found.best_epoch, found.best_value) == (epochs, best, scores[best - 1])
    assert [row["val_score"] for row in found.history] == scores[:epochs]
    assert [row["epoch"] for row in found.history] == list(range(1, epochs + 1))
    assert seen == [(epoch, len(scores)) for epoch in range(1, epochs + 1)]
    for name, value in scripted.state.state_dict().items():
        assert torch.equal(value, scripted.validated[best - 1][name])
    weights = {state["weight"].item() for state in scripted.validated}
    assert len(weights) > 1 or epochs == 1  # the epochs do differ
    assert not scripted.state.training


@pytest.mark.parametrize(
    ("size", "batch_size", "steps"),
    [(43, 4, 11), (40, 4, 10), (9, 2, 5), (100, 64, 8), (10, 64, 5), (3, 16, 1)],
)
def test_an_epoch_shows_every_sample_once_in_a_new_order(size, batch_size, steps):
    scripted = Scripted([1.0, 2.0], size)
    training = config(epochs=2, batch_size=batch_size)
    found = fit(scripted, training, device=CPU)
    epochs = scripted.batches[:steps], scripted.batches[steps:]
    orders = [[row for rows in batches for row in rows] for batches in epochs]
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert max(len(rows) for rows in scripted.batches) <= batch_size
    assert orders[0] != orders[1]
    # Batches may differ in size; the epoch's loss is still the mean over samples.
    for row in found.history:
        assert row["train_rows"] == pytest.approx((size - 1) / 2)
        assert row["train_one"] == pytest.approx(1)
        assert row["train_loss"] == pytest.approx((size + 1) / 2)
    assert scripted.modes == ([True] * steps + [False]) * 2


@pytest.mark.parametrize(
    ("epochs", "size", "warmup"), [(5, 42, 0.1), (4, 46, 0.3), (3, 20, 0.0), (1, 3, 0.1), (2, 20, 0.9)]
)
def test_the_learning_rate_warms_up_and_decays(monkeypatch, epochs, size, warmup):
    rates: list[float] = []

    class Recording(torch.optim.AdamW):
        def step(self, *arguments, **named):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments, **named)

    monkeypatch.setattr(torch.optim, "AdamW", Recording)
    training = config(epochs=epochs, batch_size=2, warmup=warmup, learning_rate=0.5)
    fit(Scripted([float(epoch) for epoch in range(epochs)], size), training, device=CPU)
    steps = epochs * math.ceil(size / 2)
    rising = warmup * steps
    expected = []
    for step in range(steps):
        if step < rising:
            expected.append(0.5 * min(1.0, (step + 1) / rising))
        else:
            done = (step - rising) / max(1.0, steps - rising)
            expected.append(0.5 * (1 + math.cos(math.pi * done)) / 2)
    assert rates == pytest.approx(expected)
    assert max(rates) <= 0.5
    assert min(rates) > 0


@pytest.mark.parametrize(("task", "family"), TOGETHER)
def test_the_seed_decides(task, family):
    found = []
    for seed in (0, 0, 1):
        one = learner(task, family, config(epochs=2, seed=seed))
        found.append((one, fit(one, config(epochs=2, seed=seed), device=CPU)))
        torch.rand(3)  # whatever others draw in between
    assert same(found[0][0].state, found[1][0].state)
    assert found[0][1].history == found[1][1].history
    assert not same(found[0][0].state, found[2][0].state)
    assert found[0][1].history != found[2][1].history


def test_order_and_dropout_follow_the_seed_too():
    """Two trainings that start from the same weights part when their seeds do."""
    ends = []
    for seed in (0, 1):
        one = learner("emotion", "joint", config(epochs=1, seed=seed), start=5)
        fit(one, config(epochs=1, seed=seed), device=CPU)
        ends.append(one.state)
    assert not same(*ends)


def test_trainings_in_two_threads_do_not_disturb_each_other(tmp_path: Path):
    def train(pair: tuple[str, str]) -> nn.Module:
        one = learner(*pair, config(seed=3))
        fit(one, config(seed=3), device=CPU, checkpoints=tmp_path / "-".join(pair))
        return one.state

    alone = [fit_alone.state for fit_alone in map(_trained, TOGETHER)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(train, TOGETHER))
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def _trained(pair: tuple[str, str]):
    one = learner(*pair, config(seed=3))
    fit(one, config(seed=3), device=CPU)
    return one


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_emotions_that_are_there_are_learned_and_shuffled_ones_are_not(family):
    training = config(epochs=8, patience=8, batch_size=32, learning_rate=1e-2)
    chance = 100 * emotion_data(200, 2).labels.mean().item()
    scores = {}
    for shuffled in (False, True):
        one = learner("emotion", family, training, count=200, shuffled=shuffled)
        scores[shuffled] = fit(one, training, device=CPU)
    assert scores[False].best_value > 85 > chance + 30
    assert scores[True].history[-1]["val_map"] == pytest.approx(chance, abs=8)
    errors = [scores[shuffled].history[-1]["val_vad_mae"] for shuffled in (False, True)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("family", ["separate", "joint"])
def test_matches_that_are_there_are_learned_and_shuffled_ones_are_not(family):
    epochs = 14 if family == "separate" else 6
    training = config(epochs=epochs, patience=epochs, batch_size=32, learning_rate=2e-2)
    counts = torch.bincount(retrieval_data(200, 2).text_image)
    chance = chance_retrieval(200, counts.numpy())["mean_recall"]
    scores = {}
    for shuffled in (False, True):
        one = learner("retrieval", family, training, count=200, shuffled=shuffled)
        scores[shuffled] = fit(one, training, device=CPU)
    assert scores[False].best_value > 8 * chance
    assert scores[True].history[-1]["val_mean_recall"] < 2 * chance
