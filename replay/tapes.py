"""The tape store: which tapes there are, and reading them.

A tape is on one decimal grid: every part of it has the same `price_decimals` and `qty_decimals`,
the smallest that hold every value exactly. The importer brings a tape to a finer grid, exactly and
in one transaction, when a new file needs it; so parts that disagree are a sign of files copied in
by hand, and are refused.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flowtape.replay import layout
from flowtape.replay.cache import ColumnCache
from flowtape.replay.parts import Part, TapeColumns
from flowtape.replay.transaction import settle
from flowtape.stream.errors import InputError, TapeError
from flowtape.stream.instrument import MARKETS, Instrument
from flowtape.stream.trades import Trades

_NAMES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class TapeInfo:
    """One tape of a store, as a list shows it."""

    instrument: Instrument
    folder: Path
    days: tuple[date, ...]
    row_count: int
    size_bytes: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class _Span:
    part: Part
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Tape:
    """A range of an instrument's trades, opened for reading; row 0 is its first trade.

    Attributes:
        instrument: what was traded, and the grid of the numbers.
        start_us: time of the first trade.
        end_us: latest time of a trade.
        sha256: hash of the content: equal for equal rows in equal parts, wherever they lie.
    """

    def __init__(self, parts: list[Part], cache: ColumnCache, spans: list[tuple[int, int]]) -> None:
        self._spans = [
            _Span(part, *span) for part, span in zip(parts, spans, strict=True) if span[0] < span[1]
        ]
        self._cache = cache
        first, last = self._spans[0], self._spans[-1]
        self.instrument = first.part.meta.instrument
        self.start_us = (
            int(first.part.trades(first.start, first.start + 1).ts_us[0])
            if first.start
            else first.part.meta.first_us
        )
        self.end_us = (
            last.part.meta.last_us
            if last.stop == last.part.meta.row_count
            else int(last.part.trades(last.stop - 1, last.stop).ts_us[0])
        )
        rows = [f"{s.part.meta.sha256} {s.start} {s.stop}" for s in self._spans]
        self.sha256 = hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def __len__(self) -> int:
        return sum(map(len, self._spans))

    @property
    def days(self) -> tuple[date, ...]:
        """UTC days of the parts in this range, oldest first."""
        found = {layout.day_of(span.part.meta.first_us) for span in self._spans}
        return tuple(sorted(found))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files the rows come from, in order."""
        return tuple(span.part for span in self._spans)

    def segments(self) -> list[TapeColumns]:
        """Return all rows as a few long contiguous pieces, mapped from the cache without a copy.

        A piece never spans two parts; a part of more than 16.7 million rows gives several. Each
        comes with its block extremes.
        """
        found = []
        for span in self._spans:
            row = 0
            for piece in self._cache.load(span.part):
                lower, upper = max(span.start - row, 0), min(span.stop - row, len(piece))
                row += len(piece)
                if lower < upper:
                    found.append(piece.slice(lower, upper))
        return found

    def columns(self) -> TapeColumns:
        """Return all rows as one piece; a copy when the tape has more than one segment."""
        segments = self.segments()
        return segments[0] if len(segments) == 1 else TapeColumns.concat(segments)

    def read_batches(self, rows: int = 1 << 17, *, cached: bool = False) -> Iterator[TapeColumns]:
        """Yield all rows in pieces of at most `rows` rows.

        Straight from Parquet, in bounded memory and leaving no cache behind, unless `cached`.
        """
        if cached:
            for segment in self.segments():
                for start in range(0, len(segment), rows):
                    yield segment.slice(start, start + rows)
            return
        for span in self._spans:
            yield from span.part.batches(span.start, span.stop, rows)

    def full_trades(self, start: int, stop: int) -> Trades:
        """Read all columns of rows [start, stop), copied into memory."""
        pieces, row = [], 0
        for span in self._spans:
            lower, upper = max(start - row, 0), min(stop - row, len(span))
            row += len(span)
            if lower < upper:
                pieces.append(span.part.trades(span.start + lower, span.start + upper))
        if len(pieces) == 1:
            return pieces[0]
        return Trades.concat(pieces) if pieces else Trades.empty()

    def row_at(self, ts_us: int) -> int:
        """Return the first row whose time has reached `ts_us`, or the row count."""
        row = 0
        for span in self._spans:
            if span.part.meta.last_us >= ts_us:
                found = max(span.part.row_at(ts_us), span.start)
                if found < span.stop:
                    return row + found - span.start
            row += len(span)
        return row


class TapeStore:
    """The tapes below `root`; their fast copies go below `cache_root`, `root/.cache` by default."""

    def __init__(self, root: Path, cache_root: Path | None = None) -> None:
        self.root = root
        self.cache = ColumnCache(cache_root or root / ".cache")

    def tapes(self) -> list[TapeInfo]:
        """Return every tape, sorted by market and symbol; raises TapeError for damaged ones."""
        self.check()
        settle(self.root)
        return [self.info(folder) for _, _, folder in layout.list_tapes(self.root)]

    def info(self, folder: Path) -> TapeInfo:
        """Return what a list shows of the tape in `folder`."""
        parts = self.parts(folder)
        return TapeInfo(
            parts[0].meta.instrument,
            folder,
            tuple(day for day, _ in layout.list_days(folder)),
            sum(part.meta.row_count for part in parts),
            sum(part.size_bytes for part in parts),
            parts[0].meta.first_us,
            max(part.meta.last_us for part in parts),
        )

    def open(self, ref: str | Path, start_us: int | None = None, end_us: int | None = None) -> Tape:
        """Open the trades of a tape with start_us <= time < end_us.

        `ref` is `SYMBOL`, `market/SYMBOL`, or a path to a symbol folder, a day folder or one
        Parquet file, inside or outside the store. Raises InputError when that names no tape or
        more than one, or when the range is empty; TapeError when files are damaged.
        """
        self.check()
        settle(self.root)
        place = self.find(ref)
        parts = self.parts(place)
        spans = []
        for part in parts:
            rows = part.meta.row_count
            start, stop = 0, rows
            if start_us is not None and part.meta.first_us < start_us:
                start = part.row_at(start_us)
            if end_us is not None and part.meta.last_us >= end_us:
                stop = part.row_at(end_us)
            spans.append((start, stop))
        if all(start >= stop for start, stop in spans):
            first, last = parts[0].meta.first_us, max(part.meta.last_us for part in parts)
            raise InputError(
                f"{ref} has no trades in that range; it spans {layout.time_text(first)} to "
                f"{layout.time_text(last)}"
            )
        return Tape(parts, self.cache, spans)

    def find(self, ref: str | Path) -> Path:
        """Return the folder or file that `ref` names; raises InputError."""
        self.check()
        text = str(ref)
        market, _, symbol = text.rpartition("/")
        known = layout.list_tapes(self.root)
        get = "make one with `flowtape import`"
        if isinstance(ref, str) and market in ("", *MARKETS) and layout.is_symbol(symbol):
            of = f" --market {market}" if market not in ("", "spot") else ""
            get = f"get it with `flowtape fetch {symbol.upper()}{of} --from DAY`, or " + get
            named = [
                (m, s, folder)
                for m, s, folder in known
                if s == symbol.upper() and market in ("", m)
            ]
            if len(named) == 1:
                return named[0][2]
            if named:
                choices = " or ".join(f"{m}/{s}" for m, s, _ in named)
                raise InputError(f"{text} is on several markets; say {choices}")
        path = Path(ref)
        if path.exists():
            return path
        names = [f"{m}/{s}" for m, s, _ in known]
        there = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
        missing = f"there is no file {text}, and no" if "/" in text or "." in text else "no"
        raise InputError(
            f"{missing} tape {text!r} in {self.root}; "
            + (f"there are: {there}; {get}" if names else get)
        )

    def check(self) -> None:
        """Raise InputError when the root is there but no folder."""
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{self.root} is a file, not a folder of tapes")

    def only(self) -> str:
        """Return the one tape there is, as `market/SYMBOL`; raises InputError otherwise."""
        names = [f"{market}/{symbol}" for market, symbol, _ in layout.list_tapes(self.root)]
        if len(names) != 1:
            raise InputError(f"{self.root} holds {len(names)} tapes; say which: {', '.join(names)}")
        return names[0]

    def parts(self, place: Path) -> list[Part]:
        """Open the parts of a symbol folder, a day folder or a single file, in order.

        Raises InputError when there are none, TapeError when they are damaged or do not make one
        tape.
        """
        if place.is_file():
            return [Part.open(place)]
        paths = [
            path for _, folder in layout.list_days(place) for path in layout.list_parts(folder)
        ]
        paths = paths or layout.list_parts(place)
        if not paths:
            raise InputError(f"{place} holds no tape; give a symbol folder, a day folder or a file")
        parts = [Part.open(path) for path in paths]
        _check_one_tape(parts)
        return parts


def _check_one_tape(parts: list[Part]) -> None:
    first = parts[0]
    for previous, part in zip([first, *parts], parts, strict=False):
        if part.meta.instrument != first.meta.instrument:
            raise TapeError(
                f"{part.path} holds {_describe(part.meta.instrument)}, but {first.path} holds "
                f"{_describe(first.meta.instrument)}; delete one and import again"
            )
        same_day = part.path.parent == previous.path.parent and part is not previous
        if same_day and part.meta.first_id <= previous.meta.last_id:
            raise TapeError(
                f"{part.path} repeats ids of {previous.path.name}; delete one and import again"
            )
    for part in parts:
        folder = part.path.parent.parent.name
        symbol = part.meta.instrument.symbol
        if folder.startswith("symbol=") and folder != f"symbol={symbol}":
            raise TapeError(f"{part.path} holds {symbol}, which does not belong into {folder}")


def _describe(instrument: Instrument) -> str:
    return (
        f"{instrument.market}/{instrument.symbol} with {instrument.price_decimals} and "
        f"{instrument.qty_decimals} decimals"
    )
