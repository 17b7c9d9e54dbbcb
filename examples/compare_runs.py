"""Compare two runs from their artifacts: what was configured differently, and what came out.

    python examples/compare_runs.py STORE [MODEL MODEL]

compares two models by their keys (``mmer artifacts ls model`` lists them), by default the two newest. Nothing is trained or
measured again.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.stages import ModelArtifacts, newest_models
from mmer_core.store import Store, open_store


def fields(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A nested configuration as dotted names with their values."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def compare(store: Store, one: ModelArtifacts, other: ModelArtifacts) -> None:
    print(f"A = {one.model}\nB = {other.model}\n\nconfigured differently:")
    a, b = (dict(fields(store.manifest(run.model).config)) for run in (one, other))
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            print(f"  {name}: {a.get(name)} | {b.get(name)}")
    print("\nmetric (95 % interval):")
    before, after = (
        EvaluationRecord.read(store.fetch(run.evaluation) / "metrics.json").metrics for run in (one, other)
    )
    for name in [name for name in before if name in after]:
        figures = (
            f"{each.value:.1f} ({each.low:.1f} to {each.high:.1f})" for each in (before[name], after[name])
        )
        print(f"  {name}: " + " | ".join(figures))


def main(address: str, keys: list[str]) -> None:
    store = open_store(address)
    newest = sorted(store.list("model"), key=lambda manifest: manifest.created)[-2:]
    one, other = newest_models(store, keys or [str(manifest.key) for manifest in newest])
    compare(store, one, other)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
