"""Files are written whole or not at all, with the user's permissions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from evalkit.store.files import write_bytes


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"first")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_files_have_the_permissions_that_the_user_wants(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; os.umask(0o077)\n"
        "from evalkit.store.files import write_bytes; write_bytes(Path(sys.argv[1]), b'x')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=True)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
