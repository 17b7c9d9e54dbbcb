"""One conversion in a separate process, to measure its peak memory: prints one line of JSON."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.memory import peak
from mmer_core.confined.pictures import end_all


def main(side: str, layout: str, root: str, out: str) -> None:
    """Convert a tree with the single loop (``loop``, or ``antialiased``), with mmer under a protocol of EMOTIC (its name),
    or only decode it."""
    convert = {"loop": _loop, "antialiased": _loop, "once": _once}.get(side, _mmer)
    print(json.dumps(convert(side, layout, Path(root), Path(out))))


def _loop(side: str, layout: str, root: Path, out: Path) -> dict[str, object]:
    from benchmarks.single_loop import by_opencv, by_pillow, convert_emotic, convert_flickr8k

    work = convert_emotic if layout == "emotic" else convert_flickr8k
    out.mkdir()
    measured = _Measured()
    work(root, out, by_opencv if side == "loop" else by_pillow)
    figures = measured.figures()
    arrays = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.npy")}
    return {**figures, "arrays": arrays}


def _once(_side: str, _layout: str, root: Path, _out: Path) -> dict[str, object]:
    import cv2

    from benchmarks.single_loop import decode_emotic_once

    cv2.setNumThreads(1)
    measured = _Measured()
    decode_emotic_once(root)
    return measured.figures()


def _mmer(side: str, layout: str, root: Path, out: Path) -> dict[str, object]:
    from mmer_core.config import IngestConfig, RuntimeConfig
    from mmer_core.stages import Context
    from mmer_core.stages.ingest import ingest

    config = IngestConfig.model_validate({"dataset": layout, "root": root, "protocol": side})
    context = Context(RuntimeConfig(store=str(out / "store"), work=out / "work"))
    measured = _Measured()
    made = ingest(context, config)
    figures = measured.figures()
    return {**figures, "arrays": {entry.path: entry.sha256 for entry in made.manifest.files}}


class _Measured:
    """Time, processor time of this process and its children, and peak memory, from its creation on."""

    def __init__(self) -> None:
        self._imports, self._cpu, self._start = peak(), _cpu_seconds(), time.perf_counter()

    def figures(self) -> dict[str, object]:
        seconds = time.perf_counter() - self._start
        end_all()  # the processor time of children counts once they have ended
        cpu = _cpu_seconds() - self._cpu
        return {"seconds": seconds, "cpu": cpu, "peak": peak(), "imports": self._imports}


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


if __name__ == "__main__":
    main(*sys.argv[1:])
