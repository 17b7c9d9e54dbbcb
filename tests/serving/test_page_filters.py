"""Filters on the search page, in a real browser, on an index whose photos have labels and ratings."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from support.browser import page

from mmer_core.querying import PhotoRoot
from mmer_core.serving import IndexSnapshot, Service, create_app, listen

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url(world) -> Iterator[str]:
    app = create_app(Service(IndexSnapshot(world.searcher, root=PhotoRoot(world.root))))
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="warning"))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def found(tab) -> set[str]:
    tab.until("!document.querySelector('[aria-busy]') && !!document.querySelector('#found a')")
    return set(tab.page.eval_on_selector_all("#found a", "links => links.map(link => link.dataset.id)"))


def test_filters_leave_what_they_say(world, url: str, tmp_path: Path) -> None:
    rows = np.arange(len(world.ids))
    val = np.array(world.splits) == "val"
    dog = np.array(["dog" in labels for labels in world.labels])
    pleasant = (world.valence >= 3.5) & (world.valence <= 9)
    with page(tmp_path) as tab:
        tab.page.goto(f"{url}/?text=red+ball&k=100")
        assert found(tab) == set(world.ids)
        tab.page.select_option("#split", "val")
        tab.page.wait_for_url("**split=val**")
        assert found(tab) == {world.ids[row] for row in rows[val]}
        tab.page.fill("#valence-low", "3.5")
        tab.page.fill("#valence-high", "9")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**valence=3.5%2C9**")
        assert found(tab) == {world.ids[row] for row in rows[val & pleasant]}
        tab.page.select_option("#split", "")
        tab.page.wait_for_url(lambda address: "split" not in address)
        tab.page.select_option("#label", "dog")
        tab.page.wait_for_url("**label=dog**")
        assert found(tab) == {world.ids[row] for row in rows[dog & pleasant]}
        assert set(tab.page.locator("#found li li").all_inner_texts()) >= {"dog"}
        tab.shot("search-filters")
        tab.page.reload()
        assert found(tab) == {world.ids[row] for row in rows[dog & pleasant]}
        assert tab.page.input_value("#valence-low") == "3.5"
        assert not tab.errors
