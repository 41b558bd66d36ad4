"""A file is read for its checksum once, and again as soon as anything has touched it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from comix_cli.scene import checksum as module
from comix_cli.scene.checksum import checksum, look_at, signature


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are really read; files count as settled at once."""
    monkeypatch.setattr(module, "_SETTLED_NS", -1_000_000_000)
    monkeypatch.setattr(module, "_FOUND", {})
    found: list[str] = []
    add_up = module._sum

    def counted(path: str | Path, *others: object) -> str | None:
        found.append(Path(path).name)
        return add_up(path, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_sum", counted)
    return found


def expected(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_what_is_known_is_not_read_again(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert checksum(path) == checksum(str(path)) == expected(path)
    assert reads == ["a.bin"]


def test_a_file_of_the_same_size_and_date_is_told_from_the_old_one(
    tmp_path: Path, reads: list[str]
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    old, before = path.stat(), checksum(path)
    path.write_bytes(b"abd")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_mtime_ns == old.st_mtime_ns
    assert checksum(path) == expected(path) != before
    assert len(reads) == 2


def test_what_was_known_in_another_process_holds_as_long_as_the_file_is_left_alone(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    known = look_at(path)
    monkeypatch.setattr(module, "_FOUND", {})
    assert look_at(path, known) is known
    path.touch()
    again = look_at(path, known)
    assert again.checksum == known.checksum
    assert again != known
    assert len(reads) == 2


def test_a_file_that_was_changed_a_moment_ago_is_read_again(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 2_000_000_000)
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert checksum(path) == checksum(path)
    assert len(reads) == 2


def test_what_was_cancelled_is_not_kept(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert checksum(path, cancelled=lambda: True) is None
    assert checksum(path) == expected(path)
    assert len(reads) == 2


def test_names_of_gdal_have_neither_checksum_nor_signature() -> None:
    name = "/vsicurl/https://example.org/a.tif"
    assert checksum(name) is None
    assert signature(name) == []
    assert not look_at(name).is_still(name)
