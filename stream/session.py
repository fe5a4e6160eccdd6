"""A session as a folder: its genesis, the commands given in it, and the links of its chain.

genesis.json        what it is made of, and a label and the time of its making beside it
inputs/             inputs that no tape holds, as `stream.input_log` keeps them
commands/*.arrows   a journal of `records.COMMAND`
checkpoints/        where it stood of late, as `stream.checkpoints` keeps it
waypoints/          where it stood at the ends of blocks, as `stream.waypoints` keeps it
links/*.arrows      a journal of `records.LINK`
summary.json        what became of it, once it has ended; everything in it follows from the rest
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np

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
from flowtape.stream.input_log import (
    InputLog,
    last_kind,
    newest_first,
    read_inputs,
    recover_inputs,
)
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.journal import (
    JournalError,
    JournalReader,
    JournalWriter,
    SyncPolicy,
    recover,
)
from flowtape.stream.journal_files import OsFiles, explain, is_written
from flowtape.stream.record_journals import (
    anew_of,
    cut_behind,
    pack,
    read_records,
    schema_of,
    to_batch,
)
from flowtape.stream.records import COMMAND, LINK, Records
from flowtape.stream.waypoints import BlockEnd, Waypoint, WaypointKeeper, Waypoints

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
        self,
        folder: Path,
        genesis: Genesis,
        sync: SyncPolicy,
        files: OsFiles | None = None,
        *,
        input_count: int = 0,
    ) -> None:
        self.folder = folder
        self.genesis = genesis
        self.chain = Chain.of(genesis)
        self.input_count = input_count
        """Own inputs that were there when it was begun or taken up."""
        self.published: Callable[[int, Inputs], None] | None = None
        """Told the number of the first input and the inputs that were written."""
        self._sync = sync
        self._files = files
        self._failure: JournalError | None = None
        self._inputs: InputLog | None = None
        self._checkpoints = CheckpointKeeper(folder / "checkpoints")
        self._waypoints = WaypointKeeper(folder / "waypoints")
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
        writer = cls(folder, genesis, sync, files)
        writer.go_on_from(None)
        return writer

    @classmethod
    def resume(cls, folder: Path, *, sync: SyncPolicy = "1s", files: OsFiles | None = None) -> Self:
        """Take up a session whose writer was killed, and go on writing it.

        What a broken off write left is cut, and so are commands and links of inputs that a loss of
        power took. Waypoints are kept only from `go_on_from` on. Raises InputError when the session
        has ended, SessionError and the journals' errors when it cannot be gone on with.
        """
        session = Session.open(folder)
        if session.ended:
            raise InputError(f"session {session.id} has ended; there is nothing to go on with")
        files = files or OsFiles()
        input_count = recover_inputs(folder / "inputs", files)
        # A block is closed when the input behind it is there, the last one when the stream ends.
        has_end = last_kind(folder / "inputs") is InputKind.END
        linked = input_count if has_end else input_count - 1
        for name, dtype, kept in (("commands", COMMAND, input_count), ("links", LINK, linked)):
            journal, anew = folder / name, anew_of(folder / name)
            if anew.is_dir() and not journal.exists():
                # A process died between the two renames of `_put_anew`.
                anew.rename(journal)
            recover(journal, schema_of(dtype), files=files)
            if not session.genesis.tapes:
                cut_behind(journal, dtype, kept, files)
        standing = session.checkpoint(None if session.genesis.tapes else input_count)
        forget_behind(folder / "checkpoints", standing)
        return cls(folder, session.genesis, sync, files, input_count=input_count)

    def go_on_from(self, waypoint: Waypoint | None) -> None:
        """Keep waypoints of an engine that began at one, or at the start."""
        self._waypoints.begin(waypoint)

    def inputs(self, inputs: Inputs) -> None:
        """Write inputs down; the operating system has them on return.

        The end of a session over tapes is where they end, and is not written.
        """
        if self.genesis.tapes and inputs.kind[0] == InputKind.END:
            return
        if self._failure is not None:
            raise self._failure
        try:
            if self._inputs is None:
                self._inputs = InputLog(self.folder / "inputs", sync=self._sync, files=self._files)
            first = self._inputs.input_count + 1
            self._inputs.append(inputs)
        except JournalError as error:
            self._failure = error
            raise
        if self.published is not None:
            self.published(first, inputs)

    def commands(self, commands: Records, *, durable: bool) -> None:
        """Write commands down; with `durable` they survive a power cut when this returns."""
        with self._alive():
            if durable and self._inputs is not None:
                self._inputs.sync()
            self._commands.append(to_batch(commands), durable=durable)

    def link(self, link: Records, end: BlockEnd) -> None:
        """Write down the link of a block that ends here, and a waypoint now and then."""
        with self._alive():
            self._links.append(to_batch(link))
        self._waypoints.offer(int(link["block"][0]) + 1, end)

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
        pack(self.folder / "commands", COMMAND, self._files or OsFiles())
        # No one will go on with it, and they are as large as its inputs.
        shutil.rmtree(self.folder / "waypoints", ignore_errors=True)
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
        return read_records(self.folder / "commands", COMMAND)

    def links(self) -> Records:
        """Return all links, records of `records.LINK`; raises JournalDamagedError."""
        return read_records(self.folder / "links", LINK)

    def inputs(self, first: int = 1) -> Iterator[Inputs]:
        """Yield the inputs that no tape holds, from the `first` on; raises JournalDamagedError."""
        return read_inputs(self.folder / "inputs", first)

    def checkpoint(self, input_count: int | None) -> Standing | None:
        """Return the newest checkpoint within so many inputs and the commands there are."""
        folder, markets = self.folder / "checkpoints", len(self.genesis.instruments)
        command_count = JournalReader(self.folder / "commands", schema_of(COMMAND)).row_count
        return newest_checkpoint(folder, input_count, command_count, markets)

    def gaps(self) -> tuple[SymbolGap, ...]:
        """Return the aggregate ids that no one could deliver, in order."""
        return gaps_in(self.inputs(), self.genesis.instruments)

    def last_ids(self) -> list[int | None]:
        """Return each instrument's last aggregate id that is accounted for, None before one."""
        found: list[int | None] = [None] * len(self.genesis.instruments)
        for piece in newest_first(self.folder / "inputs"):
            for market in range(len(found)):
                told = (piece.kind == InputKind.TRADE) | (piece.kind == InputKind.GAP)
                rows = np.flatnonzero(told & (piece.market == market))
                if found[market] is None and len(rows):
                    gap = piece.kind[rows[-1]] == InputKind.GAP
                    found[market] = int((piece.qty_lots if gap else piece.agg_id)[rows[-1]])
            if None not in found:
                break
        return found

    def waypoint(
        self,
        *,
        bars: bool,
        up_to: tuple[int, int] | None = None,
        ahead_of_us: int | None = None,
    ) -> Waypoint | None:
        """Return the newest waypoint that is what the chain says, None where there is none.

        It is one with bars, if asked for, up to an input and a command behind it, and at least a
        whole block ahead of a stream time.
        """
        genesis, links = self.genesis, self.links()
        waypoints = Waypoints(
            self.folder / "waypoints",
            market_count=len(genesis.instruments),
            series_count=len(genesis.config.bars),
        )
        command_count = JournalReader(self.folder / "commands", schema_of(COMMAND)).row_count

        blocks = len(links)
        if ahead_of_us is not None:
            blocks = int(np.searchsorted(links["stream_us"], ahead_of_us)) - 1

        def fits(one: Waypoint) -> bool:
            early = up_to is None or (one.input, one.place) <= up_to
            known = one.block <= blocks and one.command_count <= command_count
            return early and known and one.is_linked(links)

        return waypoints.newest(fits, bars=bars)

    @property
    def goes_on(self) -> bool:
        """Whether a process is writing it now."""
        return is_written(self.folder / "commands")

    @property
    def ended(self) -> bool:
        """Whether it is known what became of it."""
        return self.summary is not None


def gaps_in(pieces: Iterable[Inputs], instruments: Sequence[Instrument]) -> tuple[SymbolGap, ...]:
    """Return the aggregate ids that no one could deliver, of inputs in order."""
    found = []
    for piece in pieces:
        for at in np.flatnonzero(piece.kind == InputKind.GAP).tolist():
            span = int(piece.price_ticks[at]), int(piece.qty_lots[at])
            found.append(SymbolGap(instruments[int(piece.market[at])].symbol, *span))
    return tuple(found)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    staging = path.with_name(f".{path.name}-{os.getpid()}")
    with staging.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
