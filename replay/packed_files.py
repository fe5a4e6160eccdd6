"""The text of files as people keep them: plain, gzip, Zstandard, or alone in a zip.

What a file is, is told by its first bytes, never by its name.
"""

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa

from flowtape.stream.errors import InputError

ByteCount = Callable[[int], None]
"""Told how many more bytes were read, for a progress bar."""

_BLOCK_BYTES = 1 << 20
_CHECKSUM_BYTES_MAX = 1 << 12
_ENCRYPTED = 1  # bit of a zip member's flags
_ZIP, _GZIP, _ZSTD = b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_READ_BYTES = 1 << 14  # what a read holds is lost when the stream turns out to be cut
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})(?:\s.*)?", re.ASCII | re.DOTALL)


class CutShortError(InputError):
    """A packed file ends in the middle; what came before its end is right."""


class _Bytes(Protocol):
    def read1(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


class PackedText:
    """The text of a file that is open; reading raises InputError naming the file.

    `size_bytes` is what `passed` adds up to at the end: the text's bytes, or those of the packed
    file where only they are known.
    """

    def __init__(
        self, path: Path, kind: str, file: _Bytes, size_bytes: int, tell: Callable[[], int]
    ) -> None:
        self.size_bytes = size_bytes
        self._path = path
        self._kind = kind
        self._file = file
        self._tell = tell
        self._told_bytes = 0
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only before the end; none there.

        Raises CutShortError, once everything before it was returned, where the file was cut.
        """
        pieces: list[bytes] = []
        missing = size
        while missing and self._error is None:
            try:
                piece = self._file.read1(missing)
            except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
                self._error = error
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        if self._error is not None and not pieces:
            raise _explained(self._path, self._kind, self._error)
        return b"".join(pieces)

    def readline(self, size: int) -> bytes:
        """Return the next line with its end, or `size` bytes of it."""
        try:
            return self._file.readline(size)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise _explained(self._path, self._kind, error) from None

    def passed(self) -> int:
        """Return how many bytes were passed since this was asked the last time."""
        told, self._told_bytes = self._told_bytes, self._tell()
        return self._told_bytes - told


@contextmanager
def open_text(path: Path) -> Iterator[PackedText]:
    """Open a file for reading its text; raises InputError when it is none that can be read."""
    with _named(path), path.open("rb") as raw:
        begin = raw.read(4)
        raw.seek(0)
        size_bytes = path.stat().st_size
        if begin.startswith(_GZIP):
            with gzip.GzipFile(fileobj=raw) as unzipped:
                yield PackedText(path, "gzip", unzipped, size_bytes, raw.tell)
        elif begin == _ZSTD:
            stream: Any = pa.CompressedInputStream(raw, "zstd")
            file = io.BufferedReader(stream, _ZSTD_READ_BYTES)
            yield PackedText(path, "zstd", _Stepwise(file), size_bytes, raw.tell)
        elif zipfile.is_zipfile(raw):
            with zipfile.ZipFile(raw) as archive, _only_member(path, archive) as (member, size):
                yield PackedText(path, "zip", member, size, member.tell)
        elif begin == _ZIP:
            raise InputError(f"{path} is a zip file cut short; download it again")
        else:
            raw.seek(0)
            yield PackedText(path, "plain", raw, size_bytes, raw.tell)


def hash_file(path: Path, count: ByteCount) -> str:
    """Return the SHA-256 of a file's bytes, checked against a CHECKSUM file beside it."""
    digest = hashlib.sha256()
    with _named(path), path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            count(len(block))
    found = digest.hexdigest()
    beside = path.with_name(path.name + ".CHECKSUM")
    if beside.is_file():
        match = _CHECKSUM.fullmatch(beside.read_bytes()[:_CHECKSUM_BYTES_MAX].decode("latin-1"))
        if match is None:
            raise InputError(f"{beside} holds no SHA-256; download it again")
        if match.group(1).lower() != found:
            raise InputError(
                f"{path} does not match {beside.name}: it hashes to {found}, not "
                f"{match.group(1).lower()}; download both again"
            )
    return found


class _Stepwise:
    """Reads a little at a time, so that little is lost where the stream breaks off."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def read1(self, size: int) -> bytes:
        return self._file.read1(min(size, _ZSTD_READ_BYTES))

    def readline(self, size: int) -> bytes:
        return self._file.readline(size)


@contextmanager
def _only_member(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipExtFile, int]]:
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) != 1:
        raise InputError(f"{path} holds {len(members)} files; one is expected")
    if members[0].flag_bits & _ENCRYPTED:
        raise InputError(f"{path} is encrypted; unzip it first")
    with archive.open(members[0]) as file:
        yield cast("zipfile.ZipExtFile", file), members[0].file_size


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{path} is a damaged zip file ({error}); download it again") from None
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name the files in it") from None
    except RuntimeError as error:
        raise InputError(f"{path} cannot be unzipped: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _explained(path: Path, kind: str, error: Exception) -> InputError:
    """Say what an error while reading means for the file."""
    if kind == "zip":
        return InputError(f"{path} is a damaged zip file ({error}); download it again")
    # pyarrow has no error of its own for it.
    if kind != "plain" and (isinstance(error, EOFError) or "Truncated" in str(error)):
        return CutShortError(f"{path} is cut short; download it again")
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{path} cannot be read: {error.strerror}")
    return InputError(
        f"{path} is a damaged {kind} file ({error}); get it again, or unpack what is whole of it"
    )
