"""Reading captures: a line for each message of Binance's streams, maybe behind its receive time.

People make them with `websocat | ts`, with recorders of their own, or as raw dumps of a library.
The receive time, in whatever form, is what stands before the message, and is not kept: a tape has
the venue's time. Messages that are no trade, and trades that were not asked for, are counted and
passed over; so are broken lines.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import parse_archive_text
from flowtape.replay.archive_csv import MICROSECONDS_FROM, Block
from flowtape.replay.capture_messages import BROKEN, ENVELOPE, TRADE, CapturedTrade, wrapped_trade
from flowtape.replay.health import CaptureHealth, FileHealth
from flowtape.replay.merge import take
from flowtape.replay.packed_files import ByteCount, CutShortError, hash_file, open_text
from flowtape.replay.words import counted
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Market
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX
from flowtape.stream.trades import I64, Trades, side_of

_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16
_LINE_BYTES_MAX = 1 << 25  # lists of all symbols, which recorders note too, have megabytes
_SHOWN_CHARS = 80
_SYMBOLS_SHOWN = 5
_SYMBOLS_COUNTED = 10_000
_EVENT_SKEW_US_MAX = 24 * 3600 * 1_000_000  # as in the live stream: further apart is damage
_BEGIN = re.compile(rb'^[^{\n]{0,256}\{\s*"[^"]', re.MULTILINE)
_NOTES = (b"ws:", b"wss:", b"http:", b"https:", b"configuration:")
_CONTENT = ("time", "price", "quantity", "first id", "last id", "buyer-is-maker flag")


def is_capture(path: Path) -> bool:
    """Tell by its first lines whether a file is a capture; raises InputError if it is unreadable.

    It is if one of them, behind at most 256 other characters, begins an object of JSON.
    """
    with open_text(path) as text:
        try:
            head = text.read(_HEAD_BYTES)
        except CutShortError:
            return False
    return _BEGIN.search(head) is not None


class LineCapture:
    """One capture of lines, packed or not, of which the trades of `symbol` on `market` are wanted.

    Without a symbol those of the first trade's, and without a market those of any, are.

    Attributes:
        kind: `capture`.
        text_bytes: size of the text, or of the packed file where only that is known.
    """

    def __init__(self, path: Path, symbol: str | None = None, market: Market | None = None) -> None:
        self.path = path
        self.kind = "capture"
        with open_text(path) as text:
            self.text_bytes = text.size_bytes
        self._wanted_symbol, self._market = symbol, market
        self._begin(take_unmarked=False)

    def _begin(self, *, take_unmarked: bool) -> None:
        self._take_unmarked = take_unmarked
        self._symbol = self._wanted_symbol
        self._price_decimals = self._qty_decimals = 0
        self._line_count = self._taken_count = self._unmarked_count = 0
        self._other_market_count = self._other_message_count = 0
        self._other_symbols: Counter[str] = Counter()
        self._broken_count = self._first_broken_line = 0
        self._first_broken = ""
        self._cut_short = False

    def sha256(self, count: ByteCount) -> str:
        """Return the hash of the file's bytes, checked against a CHECKSUM file beside it."""
        return hash_file(self.path, count)

    def blocks(self, count: ByteCount, *, mixed_units: bool = True) -> Iterator[Block]:
        """Yield the trades that are wanted, in file order; memory is bounded whatever the size.

        The unit of time may change, as it does where connections with another unit take over.
        Raises InputError when most lines are broken.
        """
        del mixed_units
        self._begin(take_unmarked=False)
        yield from self._blocks(count)
        if self._unmarked_count and not self._taken_count:
            # Nothing speaks against spot: the recorder has left the mark out.
            self._begin(take_unmarked=True)
            yield from self._blocks(lambda _: None)
        self._check_whole()

    def _blocks(self, count: ByteCount) -> Iterator[Block]:
        for first_line, lines in self._line_blocks(count):
            numbers, found = self._trades(first_line, lines)
            if found and (block := self._block(numbers, found)) is not None:
                yield block

    def health(self) -> CaptureHealth:
        """Return what `blocks`, read to its end, has passed over."""
        return CaptureHealth(
            line_count=self._line_count,
            other_symbol_count=self._other_symbols.total(),
            other_market_count=self._other_market_count,
            other_message_count=self._other_message_count,
            broken_count=self._broken_count,
            first_broken_line=self._first_broken_line,
            first_broken=self._first_broken,
            cut_short=self._cut_short,
        )

    def refuse_empty(self) -> NoReturn:
        """Say what the file holds instead of the trades that were wanted."""
        what = f"{self.path} holds no trade of {self._symbol or 'any symbol'}"
        if self._other_market_count:
            came, there = ("without", "futures") if self._market == "spot" else ("with", "spot")
            raise InputError(
                f"{what} on {self._market}: {counted(self._other_market_count, 'trade')} of it "
                f'came {came} "M", as on {there}; check --market'
            )
        shown = [f"{s} ({n:,})" for s, n in self._other_symbols.most_common(_SYMBOLS_SHOWN)]
        if shown:
            more = ", ..." if len(self._other_symbols) > len(shown) else ""
            raise InputError(f"{what}; it has {', '.join(shown)}{more}; check --symbol")
        raise InputError(
            f"{what}: its {counted(self._line_count, 'line')} hold no aggTrade event; capture "
            "the <symbol>@aggTrade stream"
        )

    def refuse_conflicts(self, report: FileHealth) -> None:
        """Raise InputError, naming the lines, when the report on the file tells of conflicts."""
        if not report.conflict_count:
            return
        agg_id = report.conflicts[0].agg_id
        said: dict[tuple[object, ...], int] = {}
        for first_line, lines in self._line_blocks(lambda _: None):
            for number, message in zip(*self._trades(first_line, lines), strict=True):
                if message.agg_id == agg_id:
                    said.setdefault(_content(message), number)
            if len(said) > 1:
                break
        (one, before), (two, after) = list(said.items())[:2]
        what = next(i for i in range(len(one)) if one[i] != two[i])
        others = report.conflict_count - 1
        more = f" ({counted(others, 'more line')} like it)" if others else ""
        raise InputError(
            f"{self.path}, line {after}: trade {agg_id} has {_CONTENT[what]} {two[what]}, but "
            f"{one[what]} in line {before}; take out the wrong one and import again{more}"
        )

    def _line_blocks(self, count: ByteCount) -> Iterator[tuple[int, list[bytes]]]:
        """Yield runs of lines, and the number of the first of each."""
        number, rest = 1, b""
        with open_text(self.path) as text:
            while True:
                try:
                    block = text.read(_BLOCK_BYTES)
                except CutShortError:
                    self._cut_short, block = True, b""
                count(text.passed())
                if not block:
                    break
                cut = block.rfind(b"\n") + 1
                if cut:
                    lines = (rest + block[:cut]).split(b"\n")
                    rest = block[cut:]
                    yield number, lines[:-1]
                    number += len(lines) - 1
                elif len(rest) < _LINE_BYTES_MAX:
                    rest += block
            if rest:
                yield number, [rest]

    def _trades(self, first_line: int, lines: list[bytes]) -> tuple[list[int], list[CapturedTrade]]:
        """Return the trades that are wanted with the numbers of their lines; count the others."""
        numbers, found = [], []
        symbol, marked = self._symbol, self._market == "spot"
        decode_trade, decode_envelope = TRADE.decode, ENVELOPE.decode
        for number, line in enumerate(lines, first_line):
            at = line.find(b"{")
            try:
                if line.startswith(b'{"stream"', at):
                    message = decode_envelope(line[at:]).data
                else:
                    message = decode_trade(line[at:])
            except BROKEN:
                wrapped = self._wrapped_trade(number, line)
                if wrapped is None:
                    continue
                message = wrapped
            if message.symbol != symbol:
                if symbol is not None:
                    self._count_symbol(message.symbol)
                    continue
                self._symbol = symbol = message.symbol
            if (message.is_best_match is not None) is not marked and not self._takes(message):
                continue
            numbers.append(number)
            found.append(message)
        self._line_count += len(lines) - lines.count(b"") - lines.count(b"\r")
        self._taken_count += len(found)
        return numbers, found

    def _takes(self, message: CapturedTrade) -> bool:
        """Tell whether to take a trade marked other than those of the market; count it if not."""
        could_be_spot = message.qty_without_rpi is None and message.contract_kind is None
        if self._market is None or (self._take_unmarked and could_be_spot):
            return True
        self._other_market_count += 1
        self._unmarked_count += self._market == "spot" and could_be_spot
        return False

    def _wrapped_trade(self, number: int, line: bytes) -> CapturedTrade | None:
        """Return the trade in a line that is no plain one; count the line if it has none."""
        try:
            trade = wrapped_trade(line)
        except BROKEN as error:
            if line.startswith(_NOTES):
                self._other_message_count += 1
            elif line.strip():
                shown = ascii(line[:_SHOWN_CHARS].decode(errors="replace"))[:_SHOWN_CHARS]
                self._break(number, f"{shown}: {error}")
            return None
        self._other_message_count += trade is None
        return trade

    def _count_symbol(self, symbol: str) -> None:
        if symbol in self._other_symbols or len(self._other_symbols) < _SYMBOLS_COUNTED:
            self._other_symbols[symbol] += 1
        else:
            self._other_symbols["others"] += 1

    def _break(self, number: int, what: str) -> None:
        self._broken_count += 1
        if not self._first_broken_line or number < self._first_broken_line:
            self._first_broken_line, self._first_broken = number, what

    def _block(self, numbers: list[int], found: list[CapturedTrade]) -> Block | None:
        try:
            price_ticks, qty_lots = self._read_decimals(found, keep=True)
        except ValueError:
            numbers, found = self._readable(numbers, found)
            if not found:
                return None
            try:
                price_ticks, qty_lots = self._read_decimals(found, keep=True)
            except ValueError as error:
                raise InputError(
                    f"{self.path}, line {numbers[error.args[1]]}: {error.args[3]!r} "
                    f"{error.args[0]} beside the other numbers of the file"
                ) from None
        time = np.array([m.time for m in found], np.int64)
        trades = Trades(
            np.array([m.agg_id for m in found], np.int64),
            _in_us(time),
            price_ticks,
            qty_lots,
            np.array([m.first_id for m in found], np.int64),
            np.array([m.last_id for m in found], np.int64),
            side_of(np.array([m.is_buyer_maker for m in found], np.bool_)),
        )
        in_us = time >= MICROSECONDS_FROM
        event_us = _in_us(np.array([m.event_time or m.time for m in found], np.int64))
        sound = self._sound(trades, event_us, numbers)
        if not sound.all():
            if not sound.any():
                return None
            trades, in_us = take(trades, sound), in_us[sound]
        return Block(
            trades,
            in_us,
            (trades.price_ticks != 0) & (trades.qty_lots != 0),
            self._price_decimals,
            self._qty_decimals,
            numbers[0],
        )

    def _read_decimals(self, found: Iterable[CapturedTrade], *, keep: bool) -> tuple[I64, I64]:
        """Return prices and quantities as integers on the grid so far, or on a finer one.

        The finer grid is kept on request. Raises the ValueError of `parse_archive_text`.
        """
        pairs = [f"{message.price},{message.qty}\n" for message in found]
        columns, price_decimals, qty_decimals, _ = parse_archive_text(
            "".join(pairs).encode(), "pq", self._price_decimals, self._qty_decimals
        )
        if len(columns[2]) != len(pairs):
            raise ValueError("is no line of numbers", 0, 0, "".join(pairs)[:_SHOWN_CHARS])
        if keep:
            self._price_decimals, self._qty_decimals = price_decimals, qty_decimals
        return columns[2], columns[3]

    def _readable(
        self, numbers: list[int], found: list[CapturedTrade]
    ) -> tuple[list[int], list[CapturedTrade]]:
        kept = []
        for number, message in zip(numbers, found, strict=True):
            try:
                self._read_decimals([message], keep=False)
                kept.append((number, message))
            except ValueError as error:
                what, _, _, value = error.args
                self._break(number, f"trade {message.agg_id}: {value!r} {what}")
        return [number for number, _ in kept], [message for _, message in kept]

    def _sound(self, trades: Trades, event_us: I64, numbers: list[int]) -> NDArray[np.bool_]:
        """Tell which trades are possible; count the lines of the others as broken."""
        sound = np.ones(len(trades), np.bool_)
        for wrong, what in (
            (trades.ts_us > TS_US_MAX, "its time is out of range"),
            (np.abs(trades.ts_us - event_us) > _EVENT_SKEW_US_MAX, "T is over a day from E"),
            (trades.price_ticks > PRICE_TICKS_MAX, "its price is too large"),
            (trades.qty_lots > QTY_LOTS_MAX, "its quantity is too large"),
            (trades.last_id < trades.first_id, "its last id is below the first"),
        ):
            for row in np.flatnonzero(wrong & sound).tolist():
                self._break(numbers[row], f"trade {trades.agg_id[row]}: {what}")
            sound &= ~wrong
        return sound

    def _check_whole(self) -> None:
        if 2 * self._broken_count > self._line_count:
            raise InputError(
                f"{self.path}: {self._broken_count:,} of {counted(self._line_count, 'line')} are "
                f"broken, the first is line {self._first_broken_line} ({self._first_broken}); "
                "lines of a receive time and a message in JSON are expected"
            )


def _in_us(time: I64) -> I64:
    return np.where(time >= MICROSECONDS_FROM, time, time * 1_000)


def _content(message: CapturedTrade) -> tuple[object, ...]:
    """Return the values named in `_CONTENT`, apart from how they are written."""
    time_us = message.time if message.time >= MICROSECONDS_FROM else message.time * 1_000
    numbers = [
        text.rstrip("0").rstrip(".") if "." in text else text
        for text in (message.price, message.qty)
    ]
    return (time_us, *numbers, message.first_id, message.last_id, message.is_buyer_maker)
