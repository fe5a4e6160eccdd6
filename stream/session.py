"""A session as a folder: its genesis, the commands given in it, and the links of its chain.

genesis.json        what it is made of, and a label and the time of its making beside it
inputs/             inputs that no tape holds, as `stream.input_log` keeps them
commands/*.arrows   a journal of `records.COMMAND`
checkpoints/        where it stood of late, as `stream.checkpoints` keeps it
links/*.arrows      a journal of `records.LINK`
summary.json        what became of it, once it has ended; everything in it follows from the rest
"""

import contextlib
import functools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from flowtape.stream.chain import Chain
from flowtape.stream.checkpoints import (
    CheckpointKeeper,
    Standing,
    Standings,
    forget_behind,
    newest_checkpoint,
)
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.genesis import Genesis
from flowtape.stream.input_log import InputLog, read_inputs, recover_inputs
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.journal import JournalError, JournalReader, JournalWriter, SyncPolicy, recover
from flowtape.stream.journal_files import OsFiles, explain, is_written
from flowtape.stream.records import COMMAND, LINK, Records

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


@dataclass(frozen=True, slots=True)
class SymbolGap:
    """Aggregate ids of a symbol, both inclusive, that are missing in a session."""

    symbol: str
    from_id: int
    to_id: int


def new_id(now: datetime) -> str:
    """Return a ULID: 26 characters that sort by the time they were made."""
    number = int(now.timestamp() * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> 5 * i & 31] for i in reversed(range(_ID_CHARACTERS)))


def is_id(text: str) -> bool:
    """Tell whether a text has the form of a session's id."""
    return len(text) == _ID_CHARACTERS and set(text) <= set(_CROCKFORD)


class SessionWriter:
    """Keeps a session as it runs; a `recording.SessionSink`."""

    def __init__(
        self, folder: Path, genesis: Genesis, sync: SyncPolicy, files: OsFiles | None = None
    ) -> None:
        self.folder = folder
        self.genesis = genesis
        self.chain = Chain(genesis.sha256)
        self._sync = sync
        self._files = files
        self._failure: JournalError | None = None
        self._inputs: InputLog | None = None
        self._checkpoints = CheckpointKeeper(folder / "checkpoints")
        self._commands = self._journal("commands", COMMAND)
        try:
            self._links = self._journal("links", LINK)
        except BaseException:
            self._commands.close()
            raise

    def _journal(self, name: str, dtype: np.dtype[np.void]) -> JournalWriter:
        return JournalWriter(
            self.folder / name, schema_of(dtype), sync=self._sync, files=self._files
        )

    @classmethod
    def create(
        cls,
        root: Path,
        genesis: Genesis,
        now: datetime,
        *,
        label: str = "",
        places: Sequence[str] = (),
        sync: SyncPolicy = "1s",
        files: OsFiles | None = None,
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
        return cls(folder, genesis, sync, files)

    @classmethod
    def resume(cls, folder: Path, *, sync: SyncPolicy = "1s", files: OsFiles | None = None) -> Self:
        """Take up a session whose writer was killed, and go on writing it.

        What a broken off write left is cut, and so are commands and links of inputs that a loss of
        power took. Raises InputError when the session has ended, SessionError and the journals'
        errors when it cannot be gone on with.
        """
        session = Session.open(folder)
        if session.ended:
            raise InputError(f"session {session.id} has ended; there is nothing to go on with")
        files = files or OsFiles()
        input_count = recover_inputs(folder / "inputs", files)
        # A block is closed when the input behind it is there, the last one when the stream ends.
        last = [piece.kind[-1] for piece in session.inputs(max(input_count, 1))]
        linked = input_count if last == [InputKind.END] else input_count - 1
        for name, dtype, kept in (("commands", COMMAND, input_count), ("links", LINK, linked)):
            journal, anew = folder / name, _anew(folder / name)
            if anew.is_dir() and not journal.exists():
                # A process died between the two renames of `_cut_behind`.
                anew.rename(journal)
            recover(journal, schema_of(dtype), files=files)
            if not session.genesis.tapes:
                _cut_behind(journal, dtype, kept, files)
        standing = session.checkpoint(None if session.genesis.tapes else input_count)
        forget_behind(folder / "checkpoints", standing)
        return cls(folder, session.genesis, sync, files)

    def inputs(self, inputs: Inputs) -> None:
        """Write inputs down; the operating system has them on return.

        The end of a session over tapes is where they end, and is not written.
        """
        if self.genesis.tapes and inputs.kind[0] == InputKind.END:
            return
        with self._alive():
            if self._inputs is None:
                self._inputs = InputLog(self.folder / "inputs", sync=self._sync, files=self._files)
            self._inputs.append(inputs)

    def commands(self, commands: Records, *, durable: bool) -> None:
        """Write commands down; with `durable` they survive a power cut when this returns."""
        with self._alive():
            if durable and self._inputs is not None:
                self._inputs.sync()
            self._commands.append(to_batch(commands), durable=durable)

    def link(self, link: Records) -> None:
        """Write a link of the chain down."""
        with self._alive():
            self._links.append(to_batch(link))

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """Write nothing more, anywhere, once a journal has failed."""
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except JournalError as error:
            self._failure = error
            raise

    def settled(self, engine: Standings) -> None:
        """Keep a checkpoint now and then."""
        self._checkpoints.offer(engine)

    def close(self) -> None:
        """Seal the journals."""
        with contextlib.ExitStack() as every:
            every.callback(self._links.close)
            every.callback(self._commands.close)
            if self._inputs is not None:
                every.callback(self._inputs.close)

    def finish(self, summary: Summary) -> None:
        """Seal the journals of a session that has ended, and say what became of it."""
        self.close()
        path = self.folder / "summary.json"
        try:
            _write_whole(path, json.dumps(asdict(summary), indent=1) + "\n")
        except OSError as error:
            raise explain(path, error) from error


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

    def inputs(self, first: int = 1) -> Iterator[Inputs]:
        """Yield the inputs that no tape holds, from the `first` on; raises JournalDamagedError."""
        return read_inputs(self.folder / "inputs", first)

    def checkpoint(self, input_count: int | None) -> Standing | None:
        """Return the newest checkpoint within so many inputs and the commands there are."""
        folder, markets = self.folder / "checkpoints", len(self.genesis.instruments)
        return newest_checkpoint(folder, input_count, len(self.commands()), markets)

    def gaps(self) -> tuple[SymbolGap, ...]:
        """Return the aggregate ids that no one could deliver, in order."""
        found = []
        for piece in self.inputs():
            for at in np.flatnonzero(piece.kind == InputKind.GAP).tolist():
                symbol = self.genesis.instruments[int(piece.market[at])].symbol
                span = int(piece.price_ticks[at]), int(piece.qty_lots[at])
                found.append(SymbolGap(symbol, *span))
        return tuple(found)

    def last_id(self, market: int = 0) -> int | None:
        """Return the last aggregate id of an instrument that is accounted for, None before one."""
        found: int | None = None
        for piece in self.inputs():
            own = piece.market == market
            for kind, ids in (
                (InputKind.TRADE, piece.agg_id),
                (InputKind.GAP, piece.qty_lots),
            ):
                rows = np.flatnonzero(own & (piece.kind == kind))
                if len(rows):
                    found = max(found or 0, int(ids[rows[-1]]))
        return found

    @property
    def goes_on(self) -> bool:
        """Whether a process is writing it now."""
        return is_written(self.folder / "commands")

    @property
    def ended(self) -> bool:
        """Whether it is known what became of it."""
        return self.summary is not None


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


def _anew(folder: Path) -> Path:
    """Where a journal is written anew before it takes the place of the one there."""
    return folder.with_name(f".{folder.name}")


def _cut_behind(folder: Path, dtype: np.dtype[np.void], input_count: int, files: OsFiles) -> None:
    """Keep the records of a closed journal whose inputs are there; mostly all of them are."""
    records = _read(folder, dtype)
    kept = records[records["input"] <= input_count]
    if len(kept) == len(records):
        return
    made = _anew(folder)
    shutil.rmtree(made, ignore_errors=True)
    with JournalWriter(made, schema_of(dtype), files=files) as journal:
        if len(kept):
            journal.append(to_batch(kept), durable=True)
    gone = folder.with_name(f"{folder.name}-{os.urandom(4).hex()}.ahead")
    try:
        files.rename(folder, gone)
        files.rename(made, folder)
        files.sync_folder(folder.parent)
    except OSError as error:
        raise explain(folder, error) from error


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    staging = path.with_name(f".{path.name}-{os.getpid()}")
    with staging.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
