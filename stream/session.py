"""A session as a folder: its genesis, the commands given in it, and the links of its chain.

genesis.json        what it is made of, and a label and the time of its making beside it
commands/*.arrows   a journal of `records.COMMAND`
links/*.arrows      a journal of `records.LINK`
summary.json        what became of it, once it has ended; everything in it follows from the rest
"""

import functools
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa

from flowtape.stream.chain import Chain
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.genesis import Genesis
from flowtape.stream.journal import JournalReader, JournalWriter
from flowtape.stream.records import COMMAND, LINK, Records

Sync = Literal["none", "1s", "batch"]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_CHARACTERS = 26


class SessionError(FlowError):
    """A session's files are missing or damaged."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a session.

    Attributes:
        digest: hex of the last link of its chain.
        input_count: inputs, the end among them.
        trade_count: trades.
        start_us: stream time of the first trade.
        end_us: stream time of the last input.
        order_count: orders placed.
        fill_count: fills in the base lane.
        net_pnl: decimal text in the quote asset.
    """

    digest: str
    input_count: int
    trade_count: int
    start_us: int
    end_us: int
    order_count: int
    fill_count: int
    net_pnl: str


def new_id(now: datetime) -> str:
    """Return a ULID: 26 characters that sort by the time they were made."""
    number = int(now.timestamp() * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> 5 * i & 31] for i in reversed(range(_ID_CHARACTERS)))


def is_id(text: str) -> bool:
    """Tell whether a text has the form of a session's id."""
    return len(text) == _ID_CHARACTERS and set(text) <= set(_CROCKFORD)


class SessionWriter:
    """Keeps a session as it runs; a `recording.SessionSink`."""

    def __init__(self, folder: Path, genesis: Genesis, sync: Sync) -> None:
        self.folder = folder
        self.chain = Chain(genesis.sha256)
        self._commands = JournalWriter(folder / "commands", schema_of(COMMAND), sync=sync)
        self._links = JournalWriter(folder / "links", schema_of(LINK), sync=sync)

    @classmethod
    def create(
        cls,
        root: Path,
        genesis: Genesis,
        now: datetime,
        *,
        label: str = "",
        places: Sequence[str] = (),
        sync: Sync = "1s",
    ) -> Self:
        """Make the folder of a new session below `root`; raises InputError when that fails.

        `places` are what its tapes were opened by, in their order.
        """
        made = {
            "genesis": json.loads(genesis.to_json()),
            "label": label,
            "places": list(places),
            "created": now.astimezone(UTC).isoformat(timespec="seconds"),
        }
        folder = root / new_id(now)
        try:
            folder.mkdir(parents=True)
            _write_whole(folder / "genesis.json", json.dumps(made, indent=1) + "\n")
        except OSError as error:
            raise InputError(f"cannot keep a session below {root}: {error.strerror}") from None
        return cls(folder, genesis, sync)

    def commands(self, commands: Records, *, durable: bool) -> None:
        """Write commands down; with `durable` they survive a power cut when this returns."""
        self._commands.append(to_batch(commands), durable=durable)

    def link(self, link: Records) -> None:
        """Write a link of the chain down."""
        self._links.append(to_batch(link))

    def close(self) -> None:
        """Seal the journals."""
        self._commands.close()
        self._links.close()

    def finish(self, summary: Summary) -> None:
        """Seal the journals of a session that has ended, and say what became of it."""
        self.close()
        _write_whole(self.folder / "summary.json", json.dumps(asdict(summary), indent=1) + "\n")


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A session that was kept, opened for reading.

    Attributes:
        genesis: what it is made of.
        label: what a person called it.
        places: what its tapes were opened by.
        created: when it was made, ISO 8601 in UTC.
        summary: what became of it; None while it has not ended.
    """

    folder: Path
    genesis: Genesis
    label: str
    places: tuple[str, ...]
    created: str
    summary: Summary | None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a session's folder; raises SessionError when it is none or damaged."""
        path = folder / "genesis.json"
        try:
            made = json.loads(path.read_text(encoding="utf-8"))
            genesis = Genesis.from_json(json.dumps(made["genesis"]))
            summary_path = folder / "summary.json"
            summary = None
            if summary_path.exists():
                summary = Summary(**json.loads(summary_path.read_text(encoding="utf-8")))
            places = tuple(map(str, made["places"]))
            label, created = str(made["label"]), str(made["created"])
            return cls(folder, genesis, label, places, created, summary)
        except FileNotFoundError:
            raise SessionError(f"{folder} is no session: it has no genesis.json") from None
        except (OSError, KeyError, TypeError, ValueError, InputError) as error:
            raise SessionError(f"{folder} cannot be read as a session: {error}") from None

    @property
    def id(self) -> str:
        """Its ULID: the name of its folder."""
        return self.folder.name

    def commands(self) -> Records:
        """Return all commands, records of `records.COMMAND`; raises JournalDamagedError."""
        return _read(self.folder / "commands", COMMAND)

    def links(self) -> Records:
        """Return all links, records of `records.LINK`; raises JournalDamagedError."""
        return _read(self.folder / "links", LINK)


@functools.cache
def schema_of(dtype: np.dtype[np.void]) -> pa.Schema:
    """Return the Arrow schema of records: a column for each number or hash."""
    return pa.schema([pa.field(name, _arrow_type(kind), False) for name, kind, _ in _leaves(dtype)])


def to_batch(records: Records) -> pa.RecordBatch:
    """Return records as an Arrow batch of `schema_of` their dtype."""
    columns = []
    for _, kind, path in _leaves(records.dtype):
        column: np.ndarray = records
        for name in path:
            column = column[name]
        if kind.kind == "V":
            raw = pa.py_buffer(np.ascontiguousarray(column).tobytes())
            columns.append(pa.Array.from_buffers(_arrow_type(kind), len(column), [None, raw]))
        else:
            columns.append(pa.array(np.ascontiguousarray(column)))
    return pa.RecordBatch.from_arrays(columns, schema=schema_of(records.dtype))


def from_batch(batch: pa.RecordBatch, dtype: np.dtype[np.void]) -> Records:
    """Return an Arrow batch as records."""
    records = np.zeros(batch.num_rows, dtype)
    for number, (_, kind, path) in enumerate(_leaves(dtype)):
        place = records
        for name in path[:-1]:
            place = place[name]
        column = batch.column(number)
        if kind.kind == "V":
            start = column.offset * kind.itemsize
            raw = column.buffers()[1][start : start + len(column) * kind.itemsize]
            place[path[-1]] = np.frombuffer(raw, kind)
        else:
            place[path[-1]] = column.to_numpy()
    return records


@functools.cache
def _leaves(dtype: np.dtype[np.void]) -> list[tuple[str, np.dtype[np.generic], tuple[str, ...]]]:
    """Name, type and path of every field that is not reserved, inner ones by their own names."""
    found: list[tuple[str, np.dtype[np.generic], tuple[str, ...]]] = []
    for name in dtype.names or ():
        kind = dtype[name]
        if name.startswith("reserved"):
            continue
        if kind.names:
            found += [(f"{name}_{n}", k, (name, *path)) for n, k, path in _leaves(kind)]
        else:
            found.append((name, kind, (name,)))
    return found


def _arrow_type(kind: np.dtype[np.generic]) -> pa.DataType:
    return pa.binary(kind.itemsize) if kind.kind == "V" else pa.from_numpy_dtype(kind)


def _read(folder: Path, dtype: np.dtype[np.void]) -> Records:
    batches = JournalReader(folder, schema_of(dtype)).batches()
    pieces = [from_batch(batch, dtype) for _, batch in batches]
    return np.concatenate([np.zeros(0, dtype), *pieces])


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    staging = path.with_name(f".{path.name}-{os.getpid()}")
    with staging.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
