"""Gradient accumulation, compiled steps, and what a training leaves about its cost and its curves."""

import contextlib
import logging
import struct
from pathlib import Path

import pytest
import torch
from support.toy_training import CPU, TOGETHER, config, learner, same
from tensorboardX.proto.event_pb2 import Event

from mmer_core.errors import ConfigError
from mmer_core.training.loop import _Trainer, fit
from mmer_core.training.randomness import Randomness
from mmer_core.training.telemetry import cost_summary


@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_of_a_batch_add_up_to_the_batch(family, parts):
    """Without what is drawn or contrasted within a batch, the weights are those of whole batches."""
    ends = []
    for accumulate in (1, parts):
        fields = {"epochs": 3, "modality_dropout": 0, "contrastive_weight": 0, "accumulate": accumulate}
        training = config(**fields)
        one = learner("emotion", family, training)
        for module in one.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        ends.append((one.state.double(), fit(_double(one), training, device=CPU)))
    (whole, expected), (split, found) = ends
    assert not same(whole, split)  # it was computed in another way
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value, rtol=1e-6, atol=1e-9)
    for row, other in zip(found.history, expected.history, strict=True):
        assert row == pytest.approx(other, rel=1e-6)


def _double(one):
    """In float64, so that rounding does not hide a difference."""
    for data in (one.train, one.val):
        data.streams.update({name: x.double() for name, x in data.streams.items()})
        object.__setattr__(data, "ratings", data.ratings.double())
    return one


@pytest.mark.parametrize(("size", "accumulate", "parts"), [(16, 1, [16]), (16, 3, [6, 5, 5]), (5, 8, [3, 2])])
def test_a_batch_is_computed_in_so_many_parts_of_at_least_two(size, accumulate, parts):
    one, seen = learner("emotion", "joint", config(), count=10 * size), []
    losses = one.losses
    one.losses = lambda rows: seen.append(len(rows)) or losses(rows)
    fit(one, config(epochs=1, batch_size=size, accumulate=accumulate), device=CPU)
    assert seen == 10 * parts


@pytest.mark.parametrize(("task", "family"), TOGETHER)
def test_accumulation_resumes_exactly_too(tmp_path, task, family):
    training = config(accumulate=3)
    whole = learner(task, family, training)
    fit(whole, training, device=CPU)

    class Killed(Exception):
        pass

    def killer(done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(learner(task, family, training), training, device=CPU, checkpoints=tmp_path, progress=killer)
    resumed = learner(task, family, training, start=99)
    fit(resumed, training, device=CPU, checkpoints=tmp_path)
    assert same(resumed.state, whole.state)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_only_cuda_casts_and_only_float16_scales_its_gradients(monkeypatch, device, precision):
    asked = {}
    monkeypatch.setattr(torch.amp, "GradScaler", lambda where, enabled: asked.update({where: enabled}))
    monkeypatch.setattr(torch, "autocast", lambda *arguments: arguments)
    settings = config(precision=precision)
    trainer = _Trainer(learner("emotion", "joint", settings), settings, torch.device(device), Randomness())
    halved = device == "cuda" and precision != "float32"
    assert asked == ({"cuda": True} if halved and precision == "float16" else {"cpu": False})
    if halved:
        assert trainer.autocast() == ("cuda", getattr(torch, precision))
    else:
        assert trainer.autocast is contextlib.nullcontext


def test_a_missing_compiler_is_one_sentence_and_no_obstacle(monkeypatch, caplog):
    def broken(function, **options):
        def call(*arguments):
            raise RuntimeError("no C++ compiler found\nand a page of advice")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    plain, training = learner("emotion", "joint", config(epochs=2)), config(epochs=2)
    fit(plain, training, device=CPU)
    wanted = learner("emotion", "joint", training)
    with caplog.at_level(logging.WARNING):
        fit(wanted, training, device=CPU, compile=True)
    (record,) = caplog.records
    assert "(no C++ compiler found), so training goes on without it; install" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert same(plain.state, wanted.state)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: event files are records of a length, its checksum, bytes, their checksum."""
    found: dict[str, dict[int, float]] = {}
    for file in sorted(folder.iterdir()):
        data, place = file.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack("<Q", data[place : place + 8])
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            if event.HasField("session_log"):  # what a killed process wrote from this epoch on is void
                for steps in found.values():
                    for step in [step for step in steps if step >= event.step]:
                        del steps[step]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return {tag: sorted(steps.items()) for tag, steps in found.items()}


def test_curves_are_the_history_also_of_a_training_that_was_killed(tmp_path):
    training = config(epochs=4)

    class Killed(Exception):
        pass

    def killer(done: int, total: int, note: str = "") -> None:
        if done == 3:
            raise Killed

    for resumes in (False, True):
        logs = tmp_path / f"logs-{resumes}"
        checkpoints = tmp_path / "checkpoints" if resumes else None
        if resumes:
            one = learner("emotion", "joint", training)
            with pytest.raises(Killed):
                # A checkpoint after the first epoch only: the second and the third are trained again.
                fit(one, training, device=CPU, checkpoints=checkpoints, checkpoint_seconds=1e9,
                    logs=logs, progress=killer)  # fmt: skip
        one = learner("emotion", "joint", training)
        found = fit(one, training, device=CPU, checkpoints=checkpoints, logs=logs)
        curves = scalars(logs)
        for name in found.history[0]:
            if name != "epoch":
                group, _, rest = name.partition("_")
                shown = curves[f"{group}/{rest}"]
                assert [step for step, _ in shown] == [1, 2, 3, 4]
                assert [v for _, v in shown] == pytest.approx([row[name] for row in found.history], rel=1e-6)
        assert [v for _, v in curves["cost/seconds"]] == pytest.approx([c["seconds"] for c in found.costs])


def test_costs_are_kept_through_a_resume(tmp_path):
    training = config(epochs=3)
    one = learner("emotion", "joint", training)
    first = fit(one, training, device=CPU, checkpoints=tmp_path)
    again = fit(one, training, device=CPU, checkpoints=tmp_path)
    assert again.costs == first.costs
    assert len(first.costs) == 3
    for cost in first.costs:
        assert cost["samples_per_second"] * cost["seconds"] == pytest.approx(50)
        assert "gpu_mib" not in cost
    summary = cost_summary([{"seconds": s, "samples_per_second": 6 / s} for s in (1.0, 3.0, 2.0)])
    assert summary == {"train_seconds_per_epoch": 2.0, "train_samples_per_second": 3.0}
    with_gpu = [{"seconds": 1.0, "samples_per_second": 1.0, "gpu_mib": m} for m in (5.0, 9.0, 7.0)]
    assert cost_summary(with_gpu)["train_gpu_mib"] == 9.0
    assert cost_summary([]) == {}


def test_logs_that_cannot_be_written_are_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write training logs to .*file.*; give another --logs"):
        fit(learner("emotion", "joint", config()), config(), device=CPU, logs=tmp_path / "file" / "curves")
