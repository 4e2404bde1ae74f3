"""Files that appear whole or stay as they were."""

import pytest

from catransformers.files import write_whole


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_whole(path, "one")
    write_whole(path, "zwei – ü")
    assert path.read_text(encoding="utf-8") == "zwei – ü"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_bytes_are_written_as_they_are(tmp_path):
    write_whole(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
