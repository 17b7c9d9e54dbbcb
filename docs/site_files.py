"""A hook of MkDocs: pages are written for who reads them in the repository, and their links work on the site as well.

The site has README.md as its first page, CONTRIBUTING.md, and every other file of the repository that a page links to.
In the reference, `<!-- every: MODULE.REGISTRY -->` becomes an entry for everything that the registry has.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
_LINK = re.compile(r"(?<=\]\()(?:\.\./)?([\w./-]+)")
_OUTSIDE = re.compile(r"(?<=\]\()\.\./([\w./-]+)")  # from a page in docs/ to another folder
_EVERY = re.compile(r"^<!-- every: ([\w.]+)\.(\w+) -->$", re.M)
_LOADED = re.compile(r'<(?:script|img|link(?=[^>]*stylesheet))[^>]*(?:src|href)="((?:https?:)?//[^"]*)')


def on_files(files: Files, config: Any) -> Files:
    linked = {
        name
        for page in Path(config.docs_dir).glob("*.md")
        for name in _OUTSIDE.findall(page.read_text("utf-8"))
    }
    for source, page in _PAGES.items():
        text = re.sub(r"(?<=[(\"])docs/", "", (ROOT / source).read_text("utf-8"))
        linked.update(_LINK.findall(text))
        files.append(File.generated(config, page, content=text))
    for name in sorted(linked):
        if name not in _PAGES and (ROOT / name).is_file() and name not in files.src_uris:
            files.append(File.generated(config, name, content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if "/" in page.file.src_uri:
        return _EVERY.sub(_entries, markdown)
    return _OUTSIDE.sub(lambda link: _PAGES.get(link[1], link[1]), markdown)


def _entries(registry: re.Match[str]) -> str:
    found = getattr(import_module(registry[1]), registry[2]).values()
    return "\n\n".join(f"::: {entry.__module__}.{entry.__qualname__}" for entry in found)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    if elsewhere := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads {elsewhere[1]}: the site has to work without a network")
    return output
