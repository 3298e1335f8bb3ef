"""JSON read in pieces is what it is in one, wherever the pieces end."""

import json

import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources import json_reader
from ppdet_lite.data.sources.json_reader import JsonReader

TEXT = """ {"info" : {"year": 2017, "ö": "\\u00e9\\n\\"ä"},
  "count":-1234567.25e-3, "images" :[ {"id" : 12345, "name": "a b.jpg"}\t, [1, [2, {}]],null,true ,
   123456789],
  "none": [ ], "last": {}
}  \n"""


@pytest.fixture(params=[1, 2, 7, 40, 10**6])
def piece(request, monkeypatch):
    monkeypatch.setattr(json_reader, "_PIECE", request.param)
    return request.param


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_value_and_its_place(tmp_path, piece, encoding):
    found = {}
    with JsonReader(written(tmp_path, TEXT, encoding)) as reader:
        for key in reader.members():
            is_list = reader.peek() == "["
            found[key] = reader.elements(key, lambda x: x) if is_list else reader.value()
        assert reader.take("") == ""
        assert reader.at == len(TEXT)
        places = [TEXT[place:][:3] for place in reader.starts["images"]]
        assert places == ['{"i', "[1,", "nul", "tru", "123"]
        assert [reader.line(place) for place in reader.starts["images"]] == [2, 2, 2, 2, 3]
    assert found == json.loads(TEXT)


@pytest.mark.parametrize("end", range(1, len(TEXT.rstrip()), 7))
def test_a_cut_file_is_wrong_where_it_ends(tmp_path, piece, end):
    path = written(tmp_path, TEXT[:end])
    with JsonReader(path) as reader, pytest.raises(json.JSONDecodeError) as cut:
        reader.value()
    with pytest.raises(json.JSONDecodeError) as whole:
        json.loads(TEXT[:end])
    assert str(cut.value) == str(whole.value)


def test_a_number_alone_is_read_to_its_end(tmp_path, piece):
    with JsonReader(written(tmp_path, "1234567")) as reader:
        assert (reader.value(), reader.peek()) == (1234567, "")


def test_bytes_that_are_no_text(tmp_path, piece):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "' + bytes([0xE4]) + b'"}')
    with JsonReader(path) as reader, pytest.raises(DataError, match="not text in UTF-8"):
        reader.value()
