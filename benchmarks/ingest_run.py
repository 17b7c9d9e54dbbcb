"""One conversion in a separate process, to measure its peak memory: prints one line of JSON."""

import hashlib
import json
import sys
import time
from pathlib import Path

from benchmarks.memory import peak


def main(side: str, layout: str, root: str, out: str) -> None:
    """Convert a tree with the single loop (``loop``) or with mmer under a protocol of EMOTIC (its name)."""
    convert = _loop if side == "loop" else _mmer
    print(json.dumps(convert(side, layout, Path(root), Path(out))))


def _loop(_side: str, layout: str, root: Path, out: Path) -> dict[str, object]:
    from benchmarks.single_loop import convert_emotic, convert_flickr8k

    work = convert_emotic if layout == "emotic" else convert_flickr8k
    out.mkdir()
    imports, start = peak(), time.perf_counter()
    work(root, out)
    figures = _figures(imports, start)
    arrays = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.npy")}
    return {**figures, "arrays": arrays}


def _mmer(side: str, layout: str, root: Path, out: Path) -> dict[str, object]:
    from mmer_core.config import IngestConfig, RuntimeConfig
    from mmer_core.stages import Context
    from mmer_core.stages.ingest import ingest

    config = IngestConfig.model_validate({"dataset": layout, "root": root, "protocol": side})
    context = Context(RuntimeConfig(store=str(out / "store"), work=out / "work"))
    imports, start = peak(), time.perf_counter()
    made = ingest(context, config)
    figures = _figures(imports, start)
    return {**figures, "arrays": {entry.path: entry.sha256 for entry in made.manifest.files}}


def _figures(imports: float, start: float) -> dict[str, object]:
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak(), "imports": imports}


if __name__ == "__main__":
    main(*sys.argv[1:])
