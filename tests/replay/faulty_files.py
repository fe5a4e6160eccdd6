"""A disk that fails where it is told to, below a live session that is kept."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flowtape.stream import input_log
from flowtape.stream.journal_files import OsFiles

WORDS = {
    errno.ENOSPC: r"the disk is full: .*; free space and resume",
    errno.EIO: r"Input/output error; check the disk and resume",
}
"""What people must be told of an error of the system."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Which call fails, and how.

    Attributes:
        call: a method of OsFiles; writing a Parquet file counts as a `write`.
        at: which of these calls, from 1 on.
        error: number of the system's error.
        taken: share of its bytes that a failing write takes.
        raises: a write that does not raise says how many bytes it took.
        lasts: whether later calls fail as well.
        of: what the path of such a call has in it.
    """

    call: str
    at: int = 1
    error: int = errno.ENOSPC
    taken: float = 0.0
    raises: bool = True
    lasts: bool = True
    of: str = ""


class FaultyFiles(OsFiles):
    """Fails as a fault says; what does not fail outlives everything, so that no one waits.

    Attributes:
        counts: calls so far, by their names.
        failed: files that could not be written, synced, made or renamed.
        retried: files whose failed sync was tried again.
        written: bytes that journals have taken.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.counts: dict[str, int] = {}
        self.failed: list[Path] = []
        self.retried: list[Path] = []
        self.written = 0
        self._fault = fault
        self._met = 0
        self._paths: dict[int, Path] = {}
        self._unsure: set[Path] = set()
        self._guard = threading.Lock()

    def heal(self) -> None:
        """Fail no more."""
        self._fault = None

    def due(self, call: str, path: Path) -> Fault | None:
        """Count a call; return how it fails if it does."""
        with self._guard:
            self.counts[call] = self.counts.get(call, 0) + 1
            fault = self._fault
            if fault is None or fault.call != call or fault.of not in str(path):
                return None
            self._met += 1
            if self._met != fault.at and not (fault.lasts and self._met > fault.at):
                return None
            self.failed.append(path)
            return fault

    def _fail(self, call: str, path: Path) -> None:
        if fault := self.due(call, path):
            raise _error(fault)

    def create(self, path: Path) -> int:
        self._fail("create", path)
        descriptor = super().create(path)
        self._paths[descriptor] = path
        return descriptor

    def append(self, path: Path) -> int:
        self._fail("append", path)
        descriptor = super().append(path)
        self._paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        fault = self.due("write", self._paths[descriptor])
        taken = super().write(descriptor, data[: int(len(data) * (fault.taken if fault else 1))])
        self.written += taken
        if fault is not None and fault.raises:
            raise _error(fault)
        return taken

    def sync(self, descriptor: int) -> None:
        path = self._paths[descriptor]
        if path in self._unsure:
            self.retried.append(path)
        try:
            self._fail("sync", path)
        except OSError:
            self._unsure.add(path)
            raise

    def sync_folder(self, path: Path) -> None:
        self._fail("sync_folder", path)

    def rename(self, path: Path, target: Path) -> None:
        self._fail("rename", path)
        super().rename(path, target)

    def make_folder(self, path: Path) -> None:
        self._fail("make_folder", path)
        super().make_folder(path)

    def write_table(self, table: Any, where: Path, **options: Any) -> None:
        """Write a Parquet file on this disk."""
        fault = self.due("write", Path(where))
        if fault is None:
            pq.write_table(table, where, **options)
            return
        Path(where).write_bytes(b"PAR1"[: int(4 * fault.taken)])
        raise _error(fault)


class _Parquet:
    """pyarrow.parquet, writing to a disk that may fail."""

    def __init__(self, files: FaultyFiles) -> None:
        self.write_table = files.write_table

    def __getattr__(self, name: str) -> Any:
        return getattr(pq, name)


@contextmanager
def below_parquet(files: FaultyFiles) -> Iterator[None]:
    """Put a disk below the parts of inputs that are sealed."""
    before = vars(input_log)["pq"]
    vars(input_log)["pq"] = _Parquet(files)
    try:
        yield
    finally:
        vars(input_log)["pq"] = before


def _error(fault: Fault) -> OSError:
    return OSError(fault.error, os.strerror(fault.error))
