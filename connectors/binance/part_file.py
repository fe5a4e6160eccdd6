"""A download on the disk that may be cut off and go on: what is there, and by which entity tag."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flowtape.connectors.binance.archive import CHECKSUM_SUFFIX
from flowtape.stream.errors import InputError

QUARANTINE = "quarantine"


class PartFile:
    """The bytes of `target` that are there so far, as `.part` beside it; writes raise InputError.

    A killed process leaves what it wrote. Bytes without a tag are never gone on from.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(target.name + ".part")
        self._tag_path = target.with_name(target.name + ".part.etag")
        self._file: BinaryIO | None = None

    def kept(self) -> tuple[int, str]:
        """Return how many bytes there are to go on from, and by which tag; 0 and none if none."""
        try:
            tag = self._tag_path.read_text()
            return (self._path.stat().st_size, tag) if tag else (0, "")
        except (OSError, UnicodeError):
            return 0, ""

    def begin(self, tag: str) -> None:
        """Start anew, by a tag that promises equal bytes; `""` when the server gave none."""
        self.forget()
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb", buffering=0)
            if tag:
                self._tag_path.write_text(tag)

    def resume(self) -> None:
        """Go on behind what is there."""
        with writing(self._path):
            self._file = self._path.open("ab", buffering=0)

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        assert self._file is not None
        rest = memoryview(piece)
        with writing(self._path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file; what was written stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def forget(self) -> None:
        """Drop what is there."""
        with writing(self._path):
            # The tag goes first, so that no other file is ever gone on from by it.
            self._tag_path.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def complete(self) -> None:
        """Give the file its name."""
        with writing(self._target):
            self._path.replace(self._target)
            self._tag_path.unlink(missing_ok=True)


def hash_of(path: Path) -> str | None:
    """Return the SHA-256 of a file; None when there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def write_checksum(path: Path, sha256: str) -> None:
    """Write the CHECKSUM of a file beside it, in the archive's own form."""
    with writing(path):
        checksum_of(path).write_text(f"{sha256}  {path.name}")


def checksum_of(path: Path) -> Path:
    """Return where the CHECKSUM of a file lies."""
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def drop(path: Path) -> None:
    """Delete a file and its CHECKSUM."""
    with writing(path):
        path.unlink(missing_ok=True)
        checksum_of(path).unlink(missing_ok=True)


def quarantine(path: Path) -> Path:
    """Move a file that cannot be trusted out of the way, without its CHECKSUM; return its place."""
    kept = path.parent / QUARANTINE / path.name
    with writing(kept):
        kept.parent.mkdir(exist_ok=True)
        path.replace(kept)
        checksum_of(path).unlink(missing_ok=True)
    return kept


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing a file into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
