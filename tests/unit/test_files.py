"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comix_cli import files
from comix_cli.errors import OutputError
from comix_cli.files import (
    atomic_path,
    check_suffix,
    check_writable,
    make_folder,
    partial_folder,
    partial_path,
    publish_all,
    write_atomic_text,
)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_in_an_existing_folder_is_writable(tmp_path: Path) -> None:
    check_writable(tmp_path / "map.tif", overwrite=False)
    assert left_in(tmp_path) == []


def test_an_interruption_while_a_folder_is_tried_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch

    def interrupted(path: Path, **options: bool) -> None:
        touch(path, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "touch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_writable(tmp_path / "map.tif", overwrite=False)
    assert left_in(tmp_path) == []


def test_an_existing_file_needs_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "map.tif"
    target.write_text("old")
    with pytest.raises(OutputError, match=r"map\.tif: exists already; give --overwrite"):
        check_writable(target, overwrite=False)
    check_writable(target, overwrite=True)
    assert target.read_text() == "old"


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"does not exist; create it: mkdir -p .*nowhere"):
        check_writable(tmp_path / "nowhere" / "map.tif", overwrite=False)


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        check_writable(tmp_path / "file" / "map.tif", overwrite=False)


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check_writable(tmp_path, overwrite=True)


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(OutputError, match="is not a regular file"):
        check_writable("/dev/null", overwrite=True)
    with pytest.raises(OutputError, match="is not a regular file"), atomic_path("/dev/null"):
        pytest.fail("a device was offered for replacement")


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "may not be written"),
    ],
)
def test_a_folder_that_takes_no_file_is_found_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cause: str
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OutputError, match=cause):
        check_writable(tmp_path / "map.tif", overwrite=False)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that only Linux has")
def test_a_folder_that_takes_no_file_for_reasons_of_its_own_is_named() -> None:
    with pytest.raises(OutputError) as caught:
        check_writable("/proc/x.tif", overwrite=False)
    message = "/proc/x.tif: the folder /proc cannot be written to; write elsewhere"
    assert caught.value.message == message


def test_an_unknown_reason_is_told_without_the_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=r"new: cannot be written \(Too many links\); write"):
        make_folder(tmp_path / "new")


def test_an_empty_name_is_told_of_as_such() -> None:
    with pytest.raises(OutputError, match=r"the name of the output is empty, or '\.'; name"):
        check_writable("", overwrite=True)
    with pytest.raises(OutputError, match=r"the name of the map is empty.*is it set"):
        check_suffix("", (".tif",), "map")


def test_a_suffix_counts_in_upper_case_too(tmp_path: Path) -> None:
    check_suffix(tmp_path / "MAP.TIF", (".tif", ".tiff"))
    with pytest.raises(OutputError, match=r"a\.b: does not end in \.tif or \.tiff; call it a\.tif"):
        check_suffix(tmp_path / "a.b", (".tif", ".tiff"))


def test_a_finished_file_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "map.tif"
    with atomic_path(target) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".tif"
        assert partial.name.startswith(".")
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert left_in(tmp_path) == ["map.tif"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_a_file_that_was_not_finished(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "map.tif") as partial:
            partial.write_text("half")
            partial.with_name(partial.name + ".aux.xml").write_text("half a sidecar")
            raise error

    with pytest.raises(error):
        fail()
    assert left_in(tmp_path) == []


def test_an_older_file_survives_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as one, atomic_path(target) as other:
        assert one != other
        one.write_text("1")
        other.write_text("2")
    assert target.read_text() == "1"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "map.tif"
    link.symlink_to(tmp_path / "disk" / "real.tif")
    write_atomic_text(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.tif").read_text() == "new"


@pytest.mark.parametrize(
    ("number", "cause"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "the disk is read-only")],
)
def test_a_disk_that_gives_out_is_an_output_error(tmp_path: Path, number: int, cause: str) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "map.tif") as partial:
            partial.write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=rf"map\.tif: {cause}; .*write elsewhere"):
        fail()
    assert left_in(tmp_path) == []


def test_a_full_disk_is_recognised_in_the_message_of_a_library(tmp_path: Path) -> None:
    class LibraryError(Exception):
        pass

    def fail() -> None:
        with atomic_path(tmp_path / "m.safetensors"):
            raise LibraryError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OutputError, match="the disk is full"):
        fail()


def test_a_disk_that_is_full_only_at_the_last_moment_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="the disk is full"):
        write_atomic_text(tmp_path / "report.json", "{}")
    assert left_in(tmp_path) == []


def test_an_error_about_an_input_stays_what_it_is(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "map.tif"):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "hsi.tif"))

    with pytest.raises(PermissionError):
        fail()


def test_long_names_still_have_room_for_a_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 120 + ".txt")
    write_atomic_text(target, "text")
    assert target.read_text() == "text"


def test_a_partial_folder_is_always_removed(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "map.tif") as folder:
        (folder / "piece").write_text("x")
    assert left_in(tmp_path) == []


def test_room_is_reserved_on_the_disk(tmp_path: Path) -> None:
    with (tmp_path / "rows.bin").open("w+b") as stream:
        files.reserve(stream, 100_000)
        assert os.fstat(stream.fileno()).st_blocks * 512 >= 100_000
        assert stream.read() == bytes(100_000)


def test_a_disk_without_room_is_not_put_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with (tmp_path / "rows.bin").open("w+b") as stream, pytest.raises(OSError, match="No space"):
        files.reserve(stream, 100)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_reserve_is_put_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with (tmp_path / "rows.bin").open("w+b") as stream:
        files.reserve(stream, 100)
        assert stream.read() == bytes(100)


def test_free_space_is_asked_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not files.is_nearly_full(tmp_path)
    monkeypatch.setattr(files, "SPARE_BYTES", 1 << 80)
    assert files.is_nearly_full(tmp_path)
    assert not files.is_nearly_full(tmp_path / "missing")


def test_a_finished_file_has_the_users_usual_permissions(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    with atomic_path(tmp_path / "ours") as partial:
        partial.touch()
        partial.chmod(0o600)
    assert (tmp_path / "ours").stat().st_mode == usual.stat().st_mode


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["map.tif", "map [1]*.tif"])
def test_leftovers_of_dead_runs_are_removed_and_those_of_others_stay(
    tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    ours = str(os.getpid())
    dead = str(dead_process())
    start = partial_path(target).name.partition(ours)[0]
    names = {
        f"{start}{dead}-1.tif": True,
        f"{start}{dead}-2.tif.aux.xml": True,
        f"{start}{ours}-1.tif": False,
        f"{start}1-1.tif": False,  # a process that belongs to somebody else
        f"{start}x-1.tif": False,
        f".other.partial-{dead}-1.tif": False,
        f".map.partial-0badcafe-{dead}-1.tif": False,  # of another machine
    }
    for leftover in names:
        (tmp_path / leftover).touch()
    folder = tmp_path / f"{start}{dead}-3.tif"
    folder.mkdir()
    (folder / "rows.bin").touch()
    with atomic_path(target) as partial:
        partial.touch()
    assert left_in(tmp_path) == sorted([name, *(n for n, dead in names.items() if not dead)])


def test_brackets_in_a_name_are_no_pattern(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "map[1].tif") as partial:
            partial.touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert left_in(tmp_path) == []


def test_files_published_together_appear_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(tmp_path / f".{name}", tmp_path / name) for name in ("a", "b", "c")]
    for partial, _ in pairs:
        partial.write_text("new")
    (tmp_path / "a").write_text("old")
    (tmp_path / "stale").touch()
    original = Path.replace

    def interrupted(partial: Path, target: Path) -> Path:
        if target.name == "c":
            raise KeyboardInterrupt
        return original(partial, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish_all(pairs, [tmp_path / "stale"])
    assert left_in(tmp_path) == [".c", "a", "stale"]
    monkeypatch.undo()
    publish_all(pairs[2:], [tmp_path / "stale", tmp_path / "never there"])
    assert left_in(tmp_path) == ["a", "c"]


def test_what_was_there_before_comes_back_when_renaming_breaks_off(tmp_path: Path) -> None:
    pairs = []
    for name in ("map.qml", "map.tif"):
        (tmp_path / f"new-{name}").write_text("new")
        (tmp_path / name).write_text("old")
        pairs.append((tmp_path / f"new-{name}", tmp_path / name))
    (tmp_path / "new-extra.tif").write_text("new")
    pairs.insert(1, (tmp_path / "new-extra.tif", tmp_path / "extra.tif"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in the way").write_text("")
    (tmp_path / "new-folder").write_text("new")
    pairs.append((tmp_path / "new-folder", tmp_path / "folder"))
    with pytest.raises(OSError, match="folder"):
        publish_all(pairs)
    assert (tmp_path / "map.qml").read_text() == "old"
    assert (tmp_path / "map.tif").read_text() == "old"
    assert not (tmp_path / "extra.tif").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
