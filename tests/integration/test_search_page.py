"""The search page in a real headless browser, which reaches nothing but this machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.browser import page
from support.served import Served, serving
from support.small_pipeline import Study

from mmer_core.querying import PreparedPictures, Query, Searcher

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def searcher(study: Study) -> Searcher:
    return Searcher.open(study.context)


@pytest.fixture(scope="module")
def service(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(study, tmp_path_factory.mktemp("page") / "output") as served:
        yield served


def shown(tab) -> list[str]:
    """Ids of the photos on the page, in their order, once all their pictures are drawn."""
    tab.until(
        "document.querySelectorAll('#found a').length && !document.querySelector('[aria-busy]') &&"
        "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    )
    return tab.page.eval_on_selector_all("#found a", "links => links.map(link => link.dataset.id)")


def pixels(tab, selector: str, width: int, height: int) -> np.ndarray:
    """What the browser drew for an image."""
    flat = tab.page.eval_on_selector(
        selector,
        """(image, [width, height]) => {
            const canvas = Object.assign(document.createElement('canvas'), {width, height});
            const pen = canvas.getContext('2d');
            pen.drawImage(image, 0, 0, width, height);
            return [...pen.getImageData(0, 0, width, height).data];
        }""",
        [width, height],
    )
    return np.array(flat).reshape(height, width, 4)[..., :3]


def ids(searcher: Searcher, query: Query, k: int = 20) -> list[str]:
    return [hit.id for hit in searcher.search(searcher.vector_of(query), "image", k)[0]]


def test_type_a_query_see_the_pictures_and_click_through(study, service, searcher, tmp_path: Path) -> None:
    text = "a woman on the beach"
    wanted = ids(searcher, Query(text=text))
    with page(tmp_path) as tab:
        tab.page.goto(service.url)
        tab.page.wait_for_selector(".welcome")
        tab.shot("search-start")
        tab.page.keyboard.type(text)  # the field has the focus
        tab.page.keyboard.press("Enter")
        assert shown(tab) == wanted
        assert f"{len(wanted)} photos" in tab.page.inner_text("#status")
        tab.shot("search-results")

        picture = PreparedPictures.of(study.context, searcher).picture(wanted[0])
        height, width = picture.shape[:2]
        drawn = pixels(tab, "#found li:nth-child(1) img", width, height)
        assert np.abs(drawn - picture.astype(float)).mean() < 6  # as a JPEG changes it

        tab.page.click("#found li:nth-child(2) a")
        tab.page.wait_for_selector("article.photo")
        photo = searcher.photo(wanted[1])
        for caption in photo.captions:
            assert caption in tab.page.inner_text("article.photo")
        assert shown(tab) == [id for id in ids(searcher, Query(id=wanted[1])) if id != wanted[1]]
        tab.shot("search-photo")

        tab.page.keyboard.press("Escape")
        tab.page.wait_for_selector("article.photo", state="detached")
        assert shown(tab) == wanted
        assert tab.page.input_value("#text") == text
        assert not tab.errors


def test_keyboard_captions_and_a_link_that_is_kept(service, searcher, tmp_path: Path) -> None:
    with page(tmp_path, dark=True) as tab:
        tab.page.goto(f"{service.url}/?text=two+dogs")
        first, second, *_ = shown(tab)
        tab.page.focus("#found a")
        tab.page.keyboard.press("ArrowRight")
        assert tab.page.evaluate("document.activeElement.dataset.id") == second
        tab.page.keyboard.press("ArrowLeft")
        tab.page.keyboard.press("/")
        assert tab.page.evaluate("document.activeElement.id") == "text"
        tab.page.select_option("#target", "text")
        tab.page.wait_for_url("**/?text=two+dogs&target=text")
        tab.until("document.querySelector('#status').textContent.includes('captions')")
        shown(tab)
        captions = [
            hit.caption for hit in searcher.search(searcher.vector_of(Query(text="two dogs")), "text", 20)[0]
        ]
        assert tab.page.locator("#found .caption").all_inner_texts() == captions
        tab.shot("search-captions-dark")
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
        assert not tab.errors
        assert first in ids(searcher, Query(text="two dogs"))


def test_by_photo_and_what_goes_wrong(study, service, searcher, tmp_path: Path) -> None:
    photo = tmp_path / "mine.png"
    Image.fromarray(PreparedPictures.of(study.context, searcher).picture(searcher.index.ids()[2])).save(photo)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with page(tmp_path, width=390, height=800) as tab:
        tab.page.goto(service.url)
        tab.page.wait_for_selector(".welcome")
        tab.page.set_input_files("#photo", photo)
        assert shown(tab) == ids(searcher, Query(image=photo))
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
        tab.shot("search-by-photo-narrow")
        tab.page.set_input_files("#photo", tmp_path / "broken.png")
        tab.page.wait_for_selector("#status.wrong")
        assert "Cannot read the photo" in tab.page.inner_text("#status")
        tab.page.goto(f"{service.url}/photo?id=nobody")
        tab.page.wait_for_selector("#status.wrong")
        assert "no photo with the id 'nobody'" in tab.page.inner_text("#status")


def test_captions_are_text_and_never_markup(service, tmp_path: Path) -> None:
    with page(tmp_path) as tab:
        tab.page.goto(f"{service.url}/photo?id=%3Cimg%20src=x%20onerror=alert(1)%3E")
        tab.page.wait_for_selector("#status.wrong")
        assert "<img src=x" in tab.page.inner_text("#status")
        assert tab.page.locator("img").count() == 0
