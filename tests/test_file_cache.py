"""The cache of files: entries by content, whole or none, where the user wants them, and not without end."""

import json
import os

import pytest

from catransformers.errors import InputError, Problem
from catransformers.file_cache import FileCache, cache_folder, content_key

KEY = content_key({"a": 1})


def test_keys_are_of_the_content():
    assert content_key({"a": 2}) != KEY
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})


def test_what_was_stored_is_read_until_it_is_damaged(tmp_path):
    cache = FileCache(tmp_path / "new" / "folder", ".json")
    assert cache.load(KEY, json.loads) is None
    for content in (b"[1]", b"[2]"):
        cache.store(KEY, content)
        assert cache.load(KEY, json.loads) == json.loads(content)
    assert [path.suffix for path in cache.path(KEY).parent.iterdir()] == [".json"]
    cache.path(KEY).write_bytes(b"[2")
    assert cache.load(KEY, json.loads) is None


@pytest.mark.parametrize("error", [KeyError("a"), EOFError(), InputError(Problem("a", "is wrong"))])
def test_an_entry_that_cannot_be_read_counts_as_none(tmp_path, error):
    def parse(content):
        raise error

    cache = FileCache(tmp_path, ".json")
    cache.store(KEY, b"1")
    assert cache.load(KEY, parse) is None


def test_without_a_folder_there_are_no_entries():
    cache = FileCache(None, ".json")
    cache.store(KEY, b"1")
    assert cache.load(KEY, json.loads) is None


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileCache(tmp_path / "file", ".json").store(KEY, b"1")


def test_the_oldest_entries_go_when_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setenv("CATRANSFORMERS_CACHE", str(tmp_path))
    cache = FileCache(tmp_path / "costs", ".bin")
    for age in range(10):
        cache.store(f"{age:064d}"[::-1], bytes(100))
        os.utime(cache.path(f"{age:064d}"[::-1]), (1000 - age, 1000 - age))
    assert cache_folder("costs", most_bytes=1000)
    assert len(list((tmp_path / "costs").iterdir())) == 10
    cache_folder("costs", most_bytes=999)
    assert [cache.load(f"{age:064d}"[::-1], len) for age in range(10)] == [100] * 4 + [None] * 6


def test_the_cache_can_be_moved_and_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("CATRANSFORMERS_CACHE", str(tmp_path / "here"))
    assert cache_folder("costs") == str(tmp_path / "here" / "costs")
    monkeypatch.setenv("CATRANSFORMERS_CACHE", "")
    assert cache_folder("costs") is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CATRANSFORMERS_CACHE", str(tmp_path / "file"))
    assert cache_folder("costs") is None
    monkeypatch.delenv("CATRANSFORMERS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("costs") is not None
