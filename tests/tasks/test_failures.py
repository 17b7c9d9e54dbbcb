"""What errors say of where they happened, and of the command that tries again."""

import pickle

import pytest

from mmer_core.errors import (
    ArtifactCorrupt,
    DatasetError,
    MmerError,
    StoreError,
    UnexpectedError,
    add_place,
    at,
    listed,
    sentence,
)
from tasks import artifacts, failures
from tasks.failures import explained


def broken() -> str:
    raise DatasetError("the table is damaged, too")


def test_the_innermost_place_is_named() -> None:
    with (
        pytest.raises(DatasetError) as error,
        at(lambda: "samples of the shard"),
        at(lambda: "sample 'a.jpg'"),
    ):
        raise DatasetError("a.jpg cannot be read")
    assert str(error.value) == "a.jpg cannot be read (sample 'a.jpg')"
    add_place(error.value, "in encode test context 0")
    error.value.again = "prefect flow-run retry 1"
    whole = (
        "a.jpg cannot be read (sample 'a.jpg', in encode test context 0); try again with: "
        "prefect flow-run retry 1"
    )
    assert str(error.value) == whole
    assert error.value.cause == "a.jpg cannot be read"
    travelled = pickle.loads(pickle.dumps(error.value))
    assert type(travelled) is DatasetError
    assert (str(travelled), travelled.cause) == (whole, "a.jpg cannot be read")


def test_a_place_that_cannot_be_named_hides_no_error() -> None:
    with pytest.raises(ArtifactCorrupt) as error, at(broken):
        raise ArtifactCorrupt("it is damaged")
    assert str(error.value) == "it is damaged"


def test_names_in_places_are_on_one_line() -> None:
    with pytest.raises(DatasetError) as error, at(lambda: "sample a\x1b[2J\n"):
        raise DatasetError("bad")
    assert str(error.value) == "bad (sample a\\x1b[2J\\n)"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "sample 'a'"),
        (["a", "b"], "samples 'a' and 'b'"),
        (["a", "b", "c", "d"], "samples 'a', 'b', 'c' and 'd'"),
        (["a", "b", "c", "d", "e"], "samples 'a', 'b', 'c' and 2 more"),
    ],
)
def test_of_many_samples_the_first_are_named(names: list[str], words: str) -> None:
    assert listed(names, "sample") == words


def test_an_unexpected_error_keeps_its_kind_outside_of_prefect() -> None:
    with pytest.raises(IndexError) as error, explained(lambda with_samples: "in craft collision 0"):
        raise IndexError("list index out of range")
    assert sentence(error.value) == (
        "IndexError: list index out of range (in craft collision 0); this is a bug in mmer: please report it with the output "
        "of MMER_LOG=text"
    )
    full = OSError(28, "No space left on device", "/data/x")
    add_place(full, "in encode train text 0")
    assert sentence(full).startswith(
        "[Errno 28] No space left on device: '/data/x' (in encode train text 0); look at"
    )


def test_in_prefect_all_of_it_is_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[MmerError] = []
    in_prefect(monkeypatch, left)
    with (
        pytest.raises(UnexpectedError) as error,
        explained(),
        at(lambda: "in craft collision 0"),  # whoever waits for a shard says it too
        explained(lambda with_samples: "in craft collision 0"),
    ):
        raise IndexError("list index out of range")
    assert isinstance(error.value.__cause__, IndexError)
    assert error.value.cause == "IndexError: list index out of range"
    assert str(error.value) == (
        "IndexError: list index out of range (in craft collision 0); this is a bug in mmer: please report it with the output "
        "of MMER_LOG=text; try again with: prefect flow-run retry 1"
    )
    with pytest.raises(DatasetError) as expected, explained(), explained(lambda with_samples: "in ingest"):
        raise DatasetError("bad")
    assert str(expected.value) == "bad (in ingest); try again with: prefect flow-run retry 1"
    assert left == [error.value, error.value, expected.value, expected.value], "a note for each flow"


def test_every_flow_that_an_error_ends_has_a_note_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard has none: of those that fail one ends the flow."""
    left: list[MmerError] = []
    in_prefect(monkeypatch, left)

    def training() -> None:
        with explained(), monkeypatch.context() as shard:
            shard.setattr(failures, "_in_task", lambda: True)
            shard.setattr(failures, "_is_last", lambda error: True)
            with explained(lambda with_samples: "in merge features"):
                raise StoreError("the disk is full")

    with pytest.raises(StoreError, match=r"full \(in merge features\); try again with") as error, explained():
        training()
    assert left == [error.value] * 2


def in_prefect(monkeypatch: pytest.MonkeyPatch, left: list[MmerError]) -> None:
    """As in a Prefect run, whose notes come to a list."""
    monkeypatch.setattr(failures, "in_run", lambda: True)
    monkeypatch.setattr(failures, "_again", lambda: "prefect flow-run retry 1")
    monkeypatch.setattr(artifacts, "leave_failure", left.append)
