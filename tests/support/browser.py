"""A real headless browser for tests; no page that it shows gets anything from outside this machine."""

import ipaddress
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What the browser asks for by itself passes no route: no name but this machine's own has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_INLINE = ("data", "blob", "about")


@dataclass
class Tab:
    """A page, what it asked for outside this machine (refused, all of it), and what went wrong in it.

    Attributes:
        page: Playwright's, with its synchronous API.
        abroad: Addresses that are not this machine's.
        errors: Exceptions that nothing caught, and errors on the console.
        shots: Folder of the screenshots.
    """

    page: Any
    shots: Path
    abroad: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def shot(self, name: str, *, full: bool = True) -> Path:
        """Keep a screenshot as ``<name>.png``, of the whole page or of what the window shows."""
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=path, full_page=full)
        return path

    def until(self, expression: str) -> None:
        """Wait until JavaScript holds, also in a page whose policy lets nobody evaluate any."""
        for _ in range(600):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never came true: {expression}")


def browser_path() -> str | None:
    """``MMER_BROWSER``, or a Chromium on the path."""
    return os.environ.get("MMER_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def page(
    shots: Path, *, width: int = 1280, height: int = 900, dark: bool = False, home_only: bool = True
) -> Iterator[Tab]:
    """An empty page in a browser of its own; the test is skipped where there is no browser.

    Args:
        shots: Where screenshots go unless ``MMER_SCREENSHOTS`` names a folder.
        dark: The user prefers dark pages.
        home_only: Fail at the end when anything outside this machine was asked for; else look at ``abroad``.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser test: playwright is missing")
    path = browser_path()
    if path is None:
        pytest.skip("no browser test: no Chromium on the path; MMER_BROWSER may name one")
    folder = Path(os.environ.get("MMER_SCREENSHOTS") or shots)
    folder.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                service_workers="block",
            )
            tab = Tab(context.new_page(), folder)
            _watch(context, tab)
            yield tab
        finally:
            browser.close()
    assert not (home_only and tab.abroad), f"asked for outside this machine: {tab.abroad}"


def at_home(url: str) -> bool:
    """Whether an address is this machine's, or holds its content itself."""
    parts = urlsplit(url)
    if parts.scheme in _INLINE or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _watch(context: Any, tab: Tab) -> None:
    def pass_or_refuse(route: Any) -> None:
        if at_home(route.request.url):
            route.continue_()
        else:
            route.abort()

    def note(url: str) -> None:
        if not at_home(url):
            tab.abroad.append(url)

    context.route("**/*", pass_or_refuse)
    # Redirects pass no route, but are reported here; the resolver refuses their names.
    context.on("request", lambda request: note(request.url))
    tab.page.on("websocket", lambda socket: note(socket.url))
    tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.page.on(
        "console",
        lambda message: tab.errors.append(message.text) if message.type == "error" else None,
    )
