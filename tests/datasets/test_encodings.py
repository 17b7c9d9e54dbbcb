"""Encodings of text that names none."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.datasets.encodings import encoding_of, named
from mmer_core.errors import DatasetError

CHINESE = "今天天气真好，我很开心！\n我爱北京天安门，天安门上太阳升\n这部电影太难看了"
GERMAN = "Schöne Grüße aus München – heute ist’s kühl\nÄpfel, Öl und Übermut"
FRENCH = "J’étais là, très fâché à côté du café où l’hôtel brûla\nGarçon, ça va"
RUSSIAN = "Сегодня хорошая погода, и мы идём гулять\nМне очень грустно"
JAPANESE = "今日はとてもいい天気ですね\n猫がかわいい"
ENGLISH = "RT @a: so happy … “it’s a day” — fun\nnothing here\nI’m fine"


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (CHINESE, "gb18030", "GB18030"),
        (CHINESE, "gbk", "GB18030"),
        (ENGLISH, "gb18030", "GB18030"),
        (ENGLISH, "cp1252", "Windows-1252"),
        (GERMAN, "cp1252", "Windows-1252"),
        (FRENCH, "cp1252", "Windows-1252"),
        (RUSSIAN, "cp1251", "Windows-1251"),
        (JAPANESE, "shift_jis", "CP932"),
        (CHINESE, "utf-16", "UTF-16-LE"),
        (JAPANESE, "utf-8", "UTF-8"),
        (JAPANESE, "utf-8-sig", "UTF-8"),
    ],
)
def test_the_encoding_is_found_and_the_text_read_as_it_was(text, encoding, name):
    content = text.encode(encoding)
    assert encoding_of(content) == name
    assert content.decode(name).removeprefix("\ufeff") == text


def test_few_lines_of_a_long_file_are_enough():
    lines = [f"{number},train,{number}.png,plain" for number in range(5000)]
    assert encoding_of("\n".join([*lines, CHINESE, *lines]).encode("gb18030")) == "GB18030"


@given(st.text())
def test_valid_utf8_is_utf8(text):
    assert encoding_of(text.removeprefix("\ufeff").encode()) == "UTF-8"


@given(st.binary())
def test_any_bytes_have_an_encoding_that_reads_them_or_none(content):
    name = encoding_of(content)
    if name and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8)):
        assert isinstance(content.decode(name), str)


def test_an_unknown_encoding_is_refused():
    assert named("latin1") == "ISO8859-1"
    with pytest.raises(DatasetError, match="'klingon' is no encoding"):
        named("klingon")
