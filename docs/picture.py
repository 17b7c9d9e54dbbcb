"""The pictures of the documentation, from the store of a finished demo.

    mmer pipeline --config demo
    python docs/picture.py .mmer/store

writes ``flow.svg``, the kinds of artifacts in the store and what each is made from, and ``report.png``, the top of the newest
report (which takes a Chromium on the path, or at ``MMER_BROWSER``). Use drawn data only.
"""

import io
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from mmer_core.store import Manifest, Store, open_store
from mmer_core.store.lineage_svg import lineage_svg

FOLDER = Path(__file__).parent
_WIDTH, _HEIGHT = 1100, 1400


def flow_svg(manifests: Iterable[Manifest]) -> str:
    """A box for each kind of artifact, with one of its files."""
    notes: dict[str, tuple[str, str]] = {}
    edges = set()
    for manifest in manifests:
        largest = max(manifest.files, key=lambda file: file.size)
        notes.setdefault(manifest.kind, (manifest.kind, largest.path.rpartition("/")[2]))
        edges |= {
            (source, manifest.kind)
            for key in manifest.inputs.values()
            if (source := key.partition("/")[0]) != key
        }
    return lineage_svg(notes, sorted(edges))


def report_png(store: Store, to: Path) -> None:
    page_file = store.fetch(store.find("report")) / "report.html"
    browser = os.environ.get("MMER_BROWSER") or shutil.which("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(page_file.resolve().as_uri())
        shot = Image.open(io.BytesIO(page.screenshot()))
        chromium.close()
    shot.quantize(64).save(to, optimize=True)


if __name__ == "__main__":
    opened = open_store(sys.argv[1])
    (FOLDER / "flow.svg").write_text(flow_svg(sorted(opened.list(), key=lambda one: one.created)) + "\n")
    report_png(opened, FOLDER / "report.png")
