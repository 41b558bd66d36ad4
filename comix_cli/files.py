"""Files that appear whole or not at all: write beside the target, then rename."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from comix_cli.errors import OutputError

# Below this much free space a library's vague "write failed" is taken to mean a full disk.
SPARE_BYTES = 1 << 20
MODEL_SUFFIX = ".safetensors"
# File names may have 255 bytes; a part of the target's name is enough to recognise ours.
_STEM_BYTES = 100

_FULL = ("the disk is full", "free some space, or write elsewhere")
_READ_ONLY = ("the disk is read-only", "write elsewhere")
_DENIED = ("may not be written", "check the permissions, or write elsewhere")
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write elsewhere"),
    errno.EFBIG: ("the file would exceed the largest size allowed", "write elsewhere"),
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EIO: ("the disk reports an input/output error", "check the disk, or write elsewhere"),
}
# An input can cause these too: they are about the output only where they name our partial file.
_NAMES_A_FILE = (errno.EACCES, errno.EPERM, errno.EIO)
_MARK = ".partial-"
# It can only be read by setting it.
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def check_writable(path: Path | str, *, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Refuse an output that could not be written, before long work begins.

    A file is created and removed in the folder: permissions alone do not tell of read-only disks,
    and a superuser passes every check of them.

    Args:
        path: The file that is going to be written.
        overwrite: Whether it may exist.
        inputs: Files that are read meanwhile, and must not be replaced.

    Raises:
        OutputError: The file exists and `overwrite` is False; it is one of the inputs; the path is
            empty, a folder or a device; the folder is missing, is no folder, or cannot be written
            to.
    """
    target = Path(path)
    _check_kind(target)
    if target.exists() and not overwrite:
        raise OutputError("exists already", path=target, remedy="give --overwrite to replace it")
    for name in inputs:
        if target.exists() and Path(name).exists() and target.samefile(name):
            raise OutputError("is an input of this run", path=target, remedy="name another output")
    _check_folder(target)
    probe = partial_path(target)
    try:
        try:
            probe.touch(exist_ok=False)
        finally:  # an interruption leaves nothing either
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _probe_error(error, target) from error


def _probe_error(error: OSError, target: Path) -> OutputError:
    """Where no reason is known, as in /proc, what the system says is about our own probe."""
    if error.errno in _REASONS:
        return _as_output_error(error, target)
    cause = f"the folder {target.parent} cannot be written to"
    return OutputError(cause, path=target, remedy="write elsewhere")


def check_suffix(path: Path | str, suffixes: tuple[str, ...], what: str = "output") -> None:
    """Refuse an output that is no file, or whose name says that it is something else.

    Args:
        path: The file that is going to be written.
        suffixes: How its name may end, in lower case; the first is what is proposed.
        what: What the file is, for the message where it has no name.

    Raises:
        OutputError: The path is empty, a folder or a device, or ends otherwise.
    """
    target = Path(path)
    _check_kind(target, what)
    if target.suffix.lower() not in suffixes:
        raise OutputError(
            f"does not end in {' or '.join(suffixes)}",
            path=target,
            remedy=f"call it {target.with_suffix(suffixes[0]).name}",
        )


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where it is not there yet.

    Raises:
        OutputError: It cannot be made, or a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError("is a file", path=path, remedy="name a folder") from error
    except OSError as error:
        raise _as_output_error(error, path) from error


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends well.

    The temporary name is hidden and has the target's suffix. When the block raises anything,
    KeyboardInterrupt included, the temporary file and its sidecars are removed and an older file at
    `path` stays as it was.

    Yields:
        The path to write to; nothing exists there yet.

    Raises:
        OutputError: The disk is full or read-only, or the folder cannot be written to.
    """
    target = _resolved(path)
    remove_leftovers(target)
    partial = partial_path(target)
    try:
        with output_errors(target):
            yield partial
            publish(partial, target)
    finally:
        _remove_all(partial)


@contextmanager
def partial_folder(path: Path | str) -> Iterator[Path]:
    """A hidden folder beside `path` for an output of several files; always removed at the end.

    It lies on the same disk as `path`, so that `publish` can rename what is in it.

    Raises:
        OutputError: The disk is full or read-only, or the folder cannot be written to.
    """
    target = _resolved(path)
    remove_leftovers(target)
    folder = partial_path(target)
    try:
        with output_errors(target):
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(partial: Path, target: Path) -> None:
    """Rename a finished file to where it belongs, once the disk really holds it."""
    settle(partial)
    partial.replace(target)


def publish_all(finished: Sequence[tuple[Path, Path]], stale: Iterable[Path] = ()) -> None:
    """Rename finished files to where they belong, all of them or none.

    They get their names in the order given. When that breaks off, what they replaced is put back.

    Args:
        finished: Pairs of a finished file and its place, on the same disk.
        stale: Files that would be taken for companions of the new ones; removed at the end.
    """
    # The slow part first, so that hardly anything can come between the renames.
    for partial, _ in finished:
        settle(partial)
    older = {target: _second_name(target) for _, target in finished if target.exists()}
    replaced: list[Path] = []
    try:
        for partial, target in finished:
            partial.replace(target)
            replaced.append(target)
    except BaseException:
        for target in replaced:
            _put_back(target, older)
        raise
    finally:
        for second in older.values():
            second.unlink(missing_ok=True)
    for path in stale:
        with suppress(OSError):  # a name that is too long for the disk belongs to no file
            path.unlink(missing_ok=True)


def _second_name(target: Path) -> Path:
    """Another, hidden name for a file that is going to be replaced."""
    second = partial_path(target)
    with suppress(OSError):  # not every file system has hard links
        os.link(target, second)
    return second


def _put_back(target: Path, older: Mapping[Path, Path]) -> None:
    """Give a replaced file its name again, or remove what replaced none."""
    if target not in older:
        target.unlink(missing_ok=True)
    elif older[target].exists():
        older[target].replace(target)


def sidecar(path: Path) -> Path:
    """Where GDAL keeps what a raster cannot hold itself."""
    return path.with_name(f"{path.name}.aux.xml")


def settle(partial: Path) -> None:
    """Wait until the disk really holds a file, and give it the user's usual permissions."""
    with partial.open("rb") as stream:
        # A file system may report a full disk or quota as late as here.
        os.fsync(stream.fileno())
    # Libraries that write through a temporary file of their own make it private to the user.
    partial.chmod(0o666 & ~_UMASK)


def write_atomic_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def partial_path(target: Path) -> Path:
    """A name beside `target` that nobody takes for a finished file, unique to this call."""
    name = f"{_partial_start(target)}{os.getpid()}-{secrets.token_hex(4)}{target.suffix}"
    return target.with_name(name)


def remove_leftovers(target: Path) -> None:
    """Remove what runs on this machine that were killed have left beside `target`.

    What cannot be removed stays: it is in nobody's way.
    """
    start = _partial_start(target)
    with suppress(OSError):
        for path in target.parent.iterdir():
            if path.name.startswith(start) and _is_dead(path.name.removeprefix(start)):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _partial_start(target: Path) -> str:
    stem = target.stem.encode()[:_STEM_BYTES].decode(errors="ignore")
    return f".{stem}{_MARK}{_machine()}-"


@cache
def _machine() -> str:
    """Where process numbers mean what they mean here: this host, and this container on it."""
    try:
        place = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        place = ""
    return hashlib.sha256(f"{platform.node()} {place}".encode()).hexdigest()[:8]


def _is_dead(name: str) -> bool:
    """Whether the process whose number a name begins with is over."""
    number = name.partition("-")[0]
    if not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turn errors about the disk that hold up writing `target` into `OutputError`.

    Libraries wrap what the system tells them in errors of their own, so their text counts too.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        if _is_about_output(error):
            raise _as_output_error(error, target) from error
        raise


def reserve(stream: BinaryIO, size: int) -> None:
    """Make a new file `size` bytes of zeros long, and make sure that the disk has room for them.

    Where the file system cannot promise room, the file only becomes that long.

    Raises:
        OSError: The disk has not so much space left.
    """
    stream.truncate(size)
    if size == 0 or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def is_nearly_full(folder: Path) -> bool:
    """Whether the disk has less than `SPARE_BYTES` left."""
    try:
        return shutil.disk_usage(folder).free < SPARE_BYTES
    except OSError:
        return False


def write_failure(reason: object, target: Path) -> OutputError:
    """GDAL rarely says that a disk is full; the disk does."""
    if is_nearly_full(target.parent):
        cause, remedy = _FULL
        return OutputError(cause, path=target, remedy=remedy)
    return OutputError(f"cannot be written ({reason})", path=target, remedy="write elsewhere")


def _is_about_output(error: Exception) -> bool:
    number = _error_number(error)
    if number in _NAMES_A_FILE:
        return _MARK in os.fsdecode(getattr(error, "filename", None) or "")
    return number in _REASONS


def _error_number(error: BaseException) -> int | None:
    """The system's number of what went wrong, also where only the message tells of it."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    text = str(error)
    return next(
        (n for n in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) if os.strerror(n) in text), None
    )


def _as_output_error(error: Exception, target: Path) -> OutputError:
    reason = _REASONS.get(_error_number(error) or 0)
    said = getattr(error, "strerror", None) or error  # the rest names our temporary file
    cause, remedy = reason or (f"cannot be written ({said})", "write elsewhere")
    return OutputError(cause, path=target, remedy=remedy)


def _check_kind(target: Path, what: str = "output") -> None:
    if target == Path():  # which is what becomes of an empty text
        raise OutputError(
            f"the name of the {what} is empty, or '.'",
            remedy="name a file; if a shell variable holds the name, is it set?",
        )
    if target.is_dir():
        raise OutputError("is a folder", path=target, remedy="name a file in it")
    if target.exists() and not target.is_file():
        raise OutputError("is not a regular file", path=target, remedy="name a file")


def _check_folder(target: Path) -> None:
    folder = target.parent
    if folder.is_dir():
        return
    if folder.exists():
        raise OutputError(f"{folder} is not a folder", path=target, remedy="name another place")
    raise OutputError(
        f"the folder {folder} does not exist", path=target, remedy=f"create it: mkdir -p {folder}"
    )


def _resolved(path: Path | str) -> Path:
    """Where the file really is: a link to it is to stay a link."""
    target = Path(path)
    target = target.resolve() if target.is_symlink() else target
    _check_kind(target)
    _check_folder(target)
    return target


def _remove_all(partial: Path) -> None:
    """Remove a temporary file and the sidecars that libraries put beside it."""
    for path in partial.parent.glob(f"{glob.escape(partial.name)}*"):
        path.unlink(missing_ok=True)
