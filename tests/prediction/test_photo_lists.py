"""Which photos a path stands for."""

from pathlib import Path

import pytest
from PIL import Image

from mmer_core.confined.picture_limits import FORMATS
from mmer_core.errors import ConfigError, DatasetError
from mmer_core.prediction import PhotoRequest, listed_photos
from mmer_core.prediction.photos import other_files


def test_one_photo_with_its_box_and_text(tmp_path: Path):
    photo = tmp_path / "a.jpg"
    assert listed_photos(photo, box=(1, 2, 3, 4), text="a man") == [
        PhotoRequest(str(photo), photo, (1, 2, 3, 4), "a man")
    ]


def test_a_folder_is_its_photos_in_order_of_their_names(tmp_path: Path):
    for name in ("b.JPG", "a.png", "notes.txt", "below/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [request.name for request in listed_photos(tmp_path)] == ["a.png", "b.JPG", "below/c.webp"]


def test_a_folder_is_searched_for_the_formats_that_are_opened(tmp_path: Path):
    formats = Image.registered_extensions()
    opened = {suffix for suffix, kind in formats.items() if kind in (*FORMATS, "MPO")}
    for suffix in formats:
        (tmp_path / f"a{suffix.upper()}").touch()
    assert {request.path.suffix.lower() for request in listed_photos(tmp_path)} == opened
    assert {".ppm", ".pgm", ".pbm", ".pfm", ".mpo"} < opened
    assert {Path(name).suffix.lower() for name in other_files(tmp_path)} == set(formats) - opened


def test_a_list_is_a_row_a_person(tmp_path: Path):
    listing = tmp_path / "list.csv"
    listing.write_text(
        'photo,x1,y1,x2,y2,text\na.jpg,1,2.4,30,40.6,"a man, smiling"\na.jpg,,,,,\nsub/b.jpg,5,6,7,ten,x\n,1,2,3,4,\n'
    )
    first, second, third, fourth = listed_photos(listing)
    assert first == PhotoRequest("a.jpg", tmp_path / "a.jpg", (1, 2, 30, 41), "a man, smiling")
    assert second == PhotoRequest("a.jpg", tmp_path / "a.jpg")
    assert third.path == tmp_path / "sub/b.jpg"
    assert "ten" in str(third.error)
    assert "photo" in str(fourth.error)


def test_a_list_may_be_separated_by_tabs(tmp_path: Path):
    path = tmp_path / "people.tsv"
    path.write_text("photo\na, b.jpg\nc.ppm\n")
    assert [request.path for request in listed_photos(path)] == [tmp_path / "a, b.jpg", tmp_path / "c.ppm"]


def test_a_row_of_another_length_is_reported_and_not_guessed_at(tmp_path: Path):
    """A comma in an unquoted text moves all that follows."""
    (tmp_path / "list.csv").write_text("photo,text\na.jpg,a man, smiling\nb.jpg\nc.jpg,alone\n")
    first, second, third = listed_photos(tmp_path / "list.csv")
    assert "3 cells" in str(first.error)
    assert "1 cells" in str(second.error)
    assert third.error is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_row_that_cannot_be_read_costs_no_other(delimiter, encoding, tmp_path: Path):
    rows = [
        "Photo,TEXT",
        'a.jpg,"open',
        "b.jpg,é",
        'c.jpg,"x" y',
        'd.jpg,"two\nlines"',
        "e.jpg,a\0b",
        "f.jpg,last",
    ]
    content = "\n".join(rows).replace(",", delimiter)
    (tmp_path / "list.csv").write_bytes(content.encode(encoding))
    requests = listed_photos(tmp_path / "list.csv")
    assert [request.name for request in requests] == [f"{name}.jpg" for name in "abcdef"]
    faults = [str(request.error).split(":")[0] for request in requests]
    lines = ["line 2 of list.csv", "None", "line 4 of list.csv", "None", "line 7 of list.csv", "None"]
    assert faults == lines
    assert [request.text for request in requests if not request.error] == ["é", "two\nlines", "last"]


def test_bytes_that_are_no_text_cost_their_row(tmp_path: Path):
    (tmp_path / "list.csv").write_bytes(b"photo\ncaf\xe9.jpg\nb.jpg\n")
    first, second = listed_photos(tmp_path / "list.csv")
    assert "line 2 of list.csv: it holds bytes that are not UTF-8" in str(first.error)
    assert second == PhotoRequest("b.jpg", tmp_path / "b.jpg")


def test_a_list_of_photos_alone(tmp_path: Path):
    (tmp_path / "list.csv").write_text("photo\nNA\n007.png\n")
    assert [request.name for request in listed_photos(tmp_path / "list.csv")] == ["NA", "007.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "photo"),
        (b"photo\n", "no rows"),
        (b"image,text\na.jpg,x\n", "image"),
        (b"photo,caption\na.jpg,x\n", "caption"),
        (b"photo,x1,y1\na.jpg,1,2\n", "x1"),
        (b"photo\n\xff\xfe\n", "cannot read"),
        (b"photo,photo\na,b\n", "photo, photo"),
        (b'photo,text\na.jpg,"never closed\n', "cannot read"),
    ],
)
def test_lists_that_are_none(content, message, tmp_path: Path):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        listed_photos(tmp_path / "list.csv")


def test_empty_folders_and_boxes_for_many(tmp_path: Path):
    with pytest.raises(DatasetError, match="no photo"):
        listed_photos(tmp_path)
    with pytest.raises(ConfigError, match="--box"):
        listed_photos(tmp_path, box=(1, 2, 3, 4))
    with pytest.raises(DatasetError, match="cannot read the list"):
        listed_photos(tmp_path / "missing.csv")
