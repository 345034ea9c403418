"""Drafts: a place holds something whole, or what was there before."""

import threading

import pytest

from vht import drafts
from vht.drafts import abandon, draft


def test_a_file_replaces_an_earlier_one_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("one", "two"):
        with draft(path) as new:
            new.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError), draft(path) as new:
        new.write_text("half")
        raise ValueError
    assert path.read_text() == "two" and list(tmp_path.iterdir()) == [path]


def test_all_are_cleared_away_before_the_process_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(drafts, "_LOCK", threading.RLock())
    ready, go, ended = threading.Event(), threading.Event(), []

    def write():
        try:
            with draft(tmp_path / "above" / "all" / "a") as new, draft(tmp_path / "above" / "all" / "b") as other:
                new.mkdir(parents=True)
                other.write_text("half")
                ready.set()
                go.wait()
                (new / "more.txt").write_text("half")
        except FileNotFoundError:
            ended.append("it would say that its files are gone")

    thread = threading.Thread(target=write)
    thread.start()
    ready.wait()
    abandon()
    assert list(tmp_path.iterdir()) == []
    go.set()
    thread.join(0.2)
    assert thread.is_alive() and ended == [] and list(tmp_path.iterdir()) == []
    drafts._LOCK.release()
    thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_file_never_takes_the_place_of_a_folder_nor_a_folder_that_of_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError), draft(tmp_path / "folder") as new:
        new.write_text("a file")
    with pytest.raises(OSError), draft(tmp_path / "file") as new:
        new.mkdir()
    assert (tmp_path / "folder" / "kept.txt").read_text() == (tmp_path / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_in_which_there_is_something_is_not_replaced(tmp_path):
    with pytest.raises(OSError, match="not empty"), draft(tmp_path / "folder") as new:
        new.mkdir()
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "kept.txt").write_text("precious")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "kept.txt"]
