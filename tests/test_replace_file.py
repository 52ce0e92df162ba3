"""Files that a command writes anew: whole, and without harm to what was there."""

import os
import stat

import pytest

from overflowd_tools.errors import UsageError
from overflowd_tools.stream import read_file, replace_file


def test_a_new_file_gets_the_usual_mode(tmp_path):
    old = os.umask(0o027)
    try:
        replace_file(str(tmp_path / "new"), b"content")
    finally:
        os.umask(old)
    assert (tmp_path / "new").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_file_keeps_its_mode_and_a_link_leads_where_it_did(tmp_path, monkeypatch):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o604)
    (tmp_path / "link").symlink_to("real")
    before = (tmp_path / "real").stat().st_ino
    monkeypatch.chdir(tmp_path)
    replace_file("link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o604
    assert (tmp_path / "real").stat().st_ino != before


def test_what_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(str(tmp_path / "directory"), b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_reading_is_bounded(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(str(tmp_path / "file"), 5) == b"12345"
    with pytest.raises(UsageError, match="over 4 bytes"):
        read_file(str(tmp_path / "file"), 4)
    with pytest.raises(UsageError, match="No such file"):
        read_file(str(tmp_path / "none"))
