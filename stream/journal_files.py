"""The folder of a journal: its segments, who may write it, how it reaches the disk.

000001.arrows        sealed, never changed again
000002.arrows.open   being written
quarantine/          damaged segments, as they were found
writer.lock          held by the process that writes or recovers
"""

import errno
import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from flowtape.stream.errors import FlowError

T = TypeVar("T")

_SEGMENT = re.compile(r"(\d{6})\.arrows(\.open)?")
_QUARANTINE = "quarantine"
_LOCK = "writer.lock"
_LOOKS, _LOOK_S = 5, 0.01
# Leaves a tenth of the promised second to the disk.
_SYNC_DELAY_S = 0.9

STALLED_S = 2.0

_log = logging.getLogger(__name__)


class JournalError(FlowError):
    """A journal cannot be read or written; what was written before is kept."""


class JournalDamagedError(JournalError):
    """A journal holds bytes that no interrupted writer leaves behind.

    Attributes:
        path: the damaged segment, where it lies now.
        offset: the first byte that is not known to be right.
        what: what is wrong there.
        first_unknown_seq: everything before this batch is known to be right.
    """

    def __init__(self, path: Path, offset: int, what: str, first_unknown_seq: int) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {what}; batches from {first_unknown_seq} on are"
            " unknown; put an undamaged copy of the segment in its place"
        )
        self.path = path
        self.offset = offset
        self.what = what
        self.first_unknown_seq = first_unknown_seq


class OsFiles:
    """What a journal does to its files; tests override it to make a disk fail.

    Every call may raise OSError.
    """

    def create(self, path: Path) -> int:
        """Make a file that must not exist yet; return its descriptor for appending."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)

    def append(self, path: Path) -> int:
        """Open a file that exists; return its descriptor for appending."""
        return os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Append `data` with one call; return how many bytes of it were taken."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Wait until the file's bytes and its size are on the disk."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, size_bytes)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file within its file system."""
        path.rename(target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make a folder unless it is there."""
        path.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FolderLock:
    """The right to write a journal's folder; held until `release` or the death of the process.

    Raises JournalError when another writer, here or in another process, holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take()
            # A full disk must not keep the folder from being recovered for want of a number.
            with suppress(OSError):
                os.pwrite(self._descriptor, b"%-20d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            self.release()
            raise JournalError(
                f"{folder} is being written by process {holder or 'unknown'}; stop that first"
            ) from None
        except BaseException:
            self.release()
            raise

    def _take(self) -> None:
        # Someone may be looking this moment whether it is free.
        for _ in range(_LOOKS):
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_LOOK_S)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give the folder free; does nothing the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def is_written(folder: Path) -> bool:
    """Tell whether someone holds the right to write a journal's folder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Segment(NamedTuple):
    """One file of a journal."""

    path: Path
    number: int
    is_open: bool
    in_quarantine: bool


def segment_path(folder: Path, number: int, *, is_open: bool) -> Path:
    """Name the file of a segment."""
    return folder / f"{number:06}.arrows{'.open' if is_open else ''}"


def segments(folder: Path) -> dict[int, Segment]:
    """Find the segments of a journal in ascending order; maybe not all of them are there.

    A segment in quarantine stands where it belongs until another is put in its place.
    """
    found: dict[int, Segment] = {}
    for place, in_quarantine in ((folder, False), (folder / _QUARANTINE, True)):
        # A name behind that of a segment tells several damaged copies apart.
        matches = _SEGMENT.match if in_quarantine else _SEGMENT.fullmatch
        for name in sorted(os.listdir(place)) if place.exists() else ():
            if (match := matches(name)) is not None:
                segment = Segment(place / name, int(match[1]), bool(match[2]), in_quarantine)
                found.setdefault(segment.number, segment)
    return dict(sorted(found.items()))


def put_in_quarantine(segment: Segment, files: OsFiles) -> Path:
    """Move a damaged segment out of the way, unchanged; return where it lies now."""
    if segment.in_quarantine:
        return segment.path
    folder = segment.path.parent / _QUARANTINE
    files.make_folder(folder)
    target, copies = folder / segment.path.name, 1
    while target.exists():
        copies += 1
        target = folder / f"{segment.path.name}.{copies}"
    files.rename(segment.path, target)
    files.sync_folder(folder)
    files.sync_folder(segment.path.parent)
    return target


def explain(path: Path, error: OSError) -> JournalError:
    """Say what an error of the operating system means for a journal and what to do about it."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return JournalError(f"{path}: the disk is full: {error.strerror}; free space and resume")
    return JournalError(f"{path}: {error.strerror or error}; check the disk and resume")


def either_name(folder: Path, number: int, read: Callable[[Path], T]) -> T | None:
    """Read a segment under the name it has; it may be sealed while we look."""
    for is_open in (False, True, False):
        with suppress(FileNotFoundError):
            return read(segment_path(folder, number, is_open=is_open))
    return None


def write_whole(files: OsFiles, descriptor: int, message: memoryview, path: Path) -> None:
    """Write a message with one call; raises JournalError when the disk takes a part of it."""
    taken = files.write(descriptor, message)
    if taken != len(message):
        raise JournalError(
            f"{path}: the disk is full: it took {taken} of {len(message)} bytes;"
            " free space and resume"
        )


class Syncer:
    """Sends a file on to the disk on a thread of its own, within a second of a write.

    While the disk takes longer than `STALLED_S` for that, writers wait for it: so much may be lost
    with the power, and no more.
    """

    def __init__(self, files: OsFiles) -> None:
        self.error: OSError | None = None
        self._files = files
        self._descriptor = -1
        self._syncing_since_s: float | None = None
        # Held while a sync runs: its error is reported once only, to whoever asked.
        self._guard = threading.Lock()
        self._dirty, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def attach(self, descriptor: int) -> None:
        """Look after another file, or after none with -1."""
        with self._guard:
            self._descriptor = descriptor

    def wrote(self) -> None:
        """Say that there is something to send on."""
        # Setting takes a lock; whoever clears it sends on what was written before.
        if not self._dirty.is_set():
            self._dirty.set()
        since_s = self._syncing_since_s
        if since_s is not None and time.monotonic() - since_s > STALLED_S:
            _log.warning("the disk has not answered for %g s; waiting for it", STALLED_S)
            with self._guard:
                pass

    def sync_now(self, descriptor: int) -> None:
        """Send a file on at once; also raises what the thread met earlier."""
        with self._guard:
            if self.error is None:
                self._files.sync(descriptor)
            else:
                raise self.error

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._dirty.set()
        self._thread.join()

    def _run(self) -> None:
        while self._dirty.wait() and not self._stop.wait(_SYNC_DELAY_S):
            self._dirty.clear()
            if self._stop.is_set():
                # It may have been said since, and what was cleared was meant to wake us for it.
                return
            with self._guard:
                if self._descriptor >= 0 and self.error is None:
                    self._syncing_since_s = time.monotonic()
                    try:
                        self._files.sync(self._descriptor)
                    except OSError as error:
                        self.error = error
                    self._syncing_since_s = None
