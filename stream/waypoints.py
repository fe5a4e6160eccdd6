"""The kernel's state and the ledger at the end of blocks, so that no one starts from the beginning.

<blocks>.waypoint   a line of JSON; parts packed with zstd; the SHA-256 of the session's id and both

Names are the numbers of blocks closed. A waypoint holds what the ledger gained since the one
before, so it takes all of them up to one to stand there. They follow from inputs and commands:
without them the way from the start only takes longer.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from flowtape.stream.chain import state_sha256
from flowtape.stream.ledger import Ledger, LedgerMark
from flowtape.stream.records import BUBBLE, Records
from flowtape.stream.running_hash import RunningHash

EVERY_BLOCKS = 8
EVERY_S = 5.0
"""A replay at full speed is not held up by them."""

RAW_BYTES_MAX = 1 << 30
"""Of one file; a larger one is not believed."""

_VERSION = 1
_SHA_BYTES = 32
_NAME = re.compile(r"\d{12}\.waypoint")
_PLACE = ("block", "input", "place", "stream_us", "command_count", "start_us")


@dataclass(frozen=True, slots=True, eq=False)
class BubblesSoFar:
    """How many bubbles of an instrument have closed, and those its strategy was not told of."""

    count: int
    untold: Records


@dataclass(frozen=True, slots=True, eq=False)
class Waypoint:
    """Where an engine stood behind the last command of a block.

    Attributes:
        block: blocks closed.
        input: the last input.
        place: commands behind it.
        stream_us: stream time.
        command_count: commands up to here, orders of one call counted one by one.
        start_us: time of the first trade.
        chain: the last link's hash.
        state: the kernel's canonical state.
        bubbles: of each instrument.
        mark: where the ledger stands.
        pieces: what is in it, one behind the other, by kind as `Ledger.since` gives it; of a
            waypoint that is being kept one piece, since the one before.
        has_bars: whether bars and footprints are among them.
    """

    block: int
    input: int
    place: int
    stream_us: int
    command_count: int
    start_us: int
    chain: bytes
    state: bytes
    bubbles: tuple[BubblesSoFar, ...]
    mark: LedgerMark
    pieces: Mapping[str, Sequence[Records]]
    has_bars: bool

    def is_linked(self, links: Records) -> bool:
        """Tell whether it is what the link says that closed its last block."""
        if not 0 < self.block <= len(links):
            return False
        link = links[self.block - 1]
        place = int(link["input"]), int(link["place"]), int(link["stream_us"])
        return (
            (self.input, self.place, self.stream_us) == place
            and self.chain == link["chain"].tobytes()
            and state_sha256(self.block - 1, self.state) == link["state"].tobytes()
        )


class BlockEnd(Protocol):
    """An engine whose block was just closed."""

    def waypoint(self, since: LedgerMark | None) -> Waypoint:
        """Return where it stands, with what its ledger gained since a mark."""
        ...


class WaypointKeeper:
    """Keeps waypoints of a session in a folder, at most one every 8 blocks and 5 s."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now_s = now_s
        self._next_s = 0.0
        self._begun = False
        self._block = 0
        self._mark: LedgerMark | None = None
        self._has_bars = True

    def begin(self, waypoint: Waypoint | None) -> None:
        """Keep what comes behind a waypoint, or from the start; those behind it are deleted."""
        self._begun = True
        self._next_s = self._now_s() + EVERY_S
        if waypoint is not None:
            self._block, self._mark = waypoint.block, waypoint.mark
            self._has_bars = waypoint.has_bars
        for path in _paths(self._folder):
            if int(path.stem) > self._block:
                path.unlink(missing_ok=True)

    def offer(self, block: int, end: BlockEnd) -> None:
        """Keep where an engine stands that has closed so many blocks, if it is time to."""
        if not self._begun or block < self._block + EVERY_BLOCKS or self._now_s() < self._next_s:
            return
        waypoint = end.waypoint(self._mark)
        has_bars = waypoint.has_bars and self._has_bars
        # Where this fails the journals soon say why; without it resuming only takes longer.
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{block:012d}.waypoint"
            staging = path.with_suffix(".tmp")
            staging.write_bytes(_packed(self._folder, waypoint, self._block, has_bars=has_bars))
            staging.replace(path)
            self._block, self._mark, self._has_bars = block, waypoint.mark, has_bars
        self._next_s = self._now_s() + EVERY_S


class Waypoints:
    """The waypoints of a session that are as they were written, as far as none is missing."""

    def __init__(self, folder: Path, *, market_count: int, series_count: int) -> None:
        self._dtypes = Ledger(market_count=market_count, series_count=series_count).dtypes()
        self._market_count = market_count
        self._files: list[_File] = []
        for path in _paths(folder):
            with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                file = _File.of(folder, path)
                before = self._files[-1].place["block"] if self._files else 0
                if file.place["block"] == int(path.stem) and file.before == before:
                    self._files.append(file)
                    continue
            break

    def newest(self, fits: Callable[[Waypoint], bool], *, bars: bool) -> Waypoint | None:
        """Return the newest that fits, with bars if they are needed, or None.

        `fits` is shown waypoints without pieces.
        """
        for count in range(len(self._files), 0, -1):
            if bars and not self._files[count - 1].has_bars:
                continue
            with suppress(OSError, ValueError, TypeError, KeyError, pa.ArrowException):
                if fits(self._waypoint(self._files[count - 1], {})):
                    return self._waypoint(self._files[count - 1], self._pieces(count))
        return None

    def _pieces(self, count: int) -> dict[str, list[Records]]:
        files = [file.opened() for file in self._files[:count]]
        return {
            kind: [file.records(f"records.{kind}", dtype) for file in files]
            for kind, dtype in self._dtypes.items()
        }

    def _waypoint(self, file: "_File", pieces: Mapping[str, Sequence[Records]]) -> Waypoint:
        opened = file.opened()
        counts = file.bubble_counts
        if len(counts) != self._market_count:
            raise ValueError("it is of other instruments")
        hashed = (kind for kind in self._dtypes if kind != "other_fills")
        return Waypoint(
            **file.place,
            chain=bytes.fromhex(file.header["chain"]),
            state=opened.part("state"),
            bubbles=tuple(
                BubblesSoFar(head, opened.records(f"untold.{number}", BUBBLE))
                for number, head in enumerate(counts)
            ),
            mark=LedgerMark(
                dict(file.header["heads"]),
                {kind: RunningHash.take_up(opened.part(f"hash.{kind}")) for kind in hashed},
            ),
            pieces=pieces,
            has_bars=file.has_bars,
        )


class _File:
    """A waypoint's file that is whole; its parts are read when they are asked for."""

    def __init__(self, path: Path, header: dict[str, Any], body_at: int) -> None:
        self.header = header
        self.place = {name: _count(header[name]) for name in _PLACE}
        self.before = _count(header["before"])
        self.has_bars = bool(header["bars"])
        self.bubble_counts = [_count(one) for one in header["bubbles"]]
        self._path = path
        self._body_at = body_at

    @classmethod
    def of(cls, folder: Path, path: Path) -> "_File":
        data = path.read_bytes()
        if _sha256(folder, data[:-_SHA_BYTES]) != data[-_SHA_BYTES:]:
            raise ValueError("it is torn, or another session's")
        line, newline, _ = data.partition(b"\n")
        header = json.loads(line)
        if header["version"] != _VERSION:
            raise ValueError("it is of another format")
        sizes = [(_count(raw), _count(packed)) for _, raw, packed in header["parts"]]
        if sum(raw for raw, _ in sizes) > RAW_BYTES_MAX:
            raise ValueError("it claims to be too large")
        body_at = len(line) + len(newline)
        if body_at + sum(packed for _, packed in sizes) + _SHA_BYTES != len(data):
            raise ValueError("its parts have other sizes")
        return cls(path, header, body_at)

    def opened(self) -> "_Parts":
        return _Parts(self._path.read_bytes(), self._body_at, self.header["parts"])


class _Parts:
    """The parts of a file, unpacked one by one."""

    def __init__(self, data: bytes, at: int, parts: Sequence[tuple[str, int, int]]) -> None:
        self._data = memoryview(data)
        self._found: dict[str, tuple[int, int, int]] = {}
        for name, raw, packed in parts:
            self._found[name] = (at, packed, raw)
            at += packed

    def part(self, name: str) -> bytes:
        at, packed, raw = self._found[name]
        if raw == 0:
            return b""
        found: bytes = pa.decompress(
            self._data[at : at + packed], decompressed_size=raw, codec="zstd", asbytes=True
        )
        return found

    def records(self, name: str, dtype: np.dtype[np.void]) -> Records:
        columns = np.frombuffer(self.part(name), np.uint8).reshape(dtype.itemsize, -1)
        return np.ascontiguousarray(columns.T).reshape(-1).view(dtype)


def _packed(folder: Path, waypoint: Waypoint, before: int, *, has_bars: bool) -> bytes:
    raw: dict[str, bytes] = {"state": waypoint.state}
    for kind, one in waypoint.mark.hashes.items():
        raw[f"hash.{kind}"] = one.put_down()
    for number, bubbles in enumerate(waypoint.bubbles):
        raw[f"untold.{number}"] = _columns(bubbles.untold)
    for kind, (records,) in waypoint.pieces.items():
        raw[f"records.{kind}"] = _columns(records)
    packed = {
        name: pa.compress(part, codec="zstd", asbytes=True) if part else b""
        for name, part in raw.items()
    }
    header = {
        "version": _VERSION,
        **{name: getattr(waypoint, name) for name in _PLACE},
        "before": before,
        "chain": waypoint.chain.hex(),
        "bars": has_bars,
        "bubbles": [one.count for one in waypoint.bubbles],
        "heads": waypoint.mark.heads,
        "parts": [(name, len(raw[name]), len(part)) for name, part in packed.items()],
    }
    data = b"".join([json.dumps(header).encode(), b"\n", *packed.values()])
    return data + _sha256(folder, data)


def _columns(records: Records) -> bytes:
    """The records' first bytes, their second ones and so on: that packs to half."""
    return np.ascontiguousarray(
        records.view(np.uint8).reshape(len(records), records.dtype.itemsize).T
    ).tobytes()


def _sha256(folder: Path, data: bytes) -> bytes:
    return hashlib.sha256(f"{folder.parent.name}\n".encode() + data).digest()


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
