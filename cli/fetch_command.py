"""`flowtape fetch`: days of Binance's public archive, straight into a tape."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flowtape.cli import common

if TYPE_CHECKING:
    from flowtape.cli.fetching import Fetcher, SymbolFetch
    from flowtape.connectors.binance.archive import ArchiveEntry, Choice
    from flowtape.stream.instrument import Market

_INTERRUPTED = 130
_TERMINATED = 143
_LATE_DAYS = 10
"""So many days after its own a file may still come out; exports have stalled for a week."""


@dataclass(frozen=True)
class _Wanted:
    """What was asked for on the command line."""

    symbols: list[str]
    market: "Market"
    days: list[date]
    today: date
    archive_url: str
    rest_url: str | None
    tapes: Path
    jobs: int
    choice: "Choice"
    refill: bool
    keep: bool
    as_json: bool


def fetch(
    symbols: Annotated[
        list[str], typer.Argument(metavar="SYMBOL", help="Symbols such as BTCUSDT.")
    ],
    from_: Annotated[
        str, typer.Option("--from", help="First UTC day or month, such as 2026-01-01.")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Last UTC day or month, included; as --from if not given."),
    ] = None,
    market: Annotated[str, typer.Option("--market", help="spot, um or cm.")] = "spot",
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=16, help="Downloads at a time.")] = 4,
    monthly: Annotated[
        bool | None,
        typer.Option(
            "--monthly/--daily",
            help="Whole months in one file each, or all by day; else months of which all is new.",
            show_default=False,
        ),
    ] = None,
    refill: Annotated[
        bool, typer.Option("--refill/--no-refill", help="Ask REST for ids that the files lack.")
    ] = True,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the files once they are imported.")
    ] = False,
    archive_url: Annotated[
        str | None, typer.Option("--archive-url", help="The archive, if not Binance's own.")
    ] = None,
    rest_url: Annotated[
        str | None, typer.Option("--rest-url", help="REST base, if not Binance's own.")
    ] = None,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Download days of Binance's public archive, check them, and import them into tapes.

    Days that a tape has are skipped. What is cut off goes on where it ended when the same command
    is run again. Exits 0 when all is there, 1 when something is missing, 2 when it cannot be done.

    Example: flowtape fetch BTCUSDT --from 2026-01-01 --to 2026-01-07
    """
    from flowtape.connectors.binance.archive import ARCHIVE_URL, day_range
    from flowtape.connectors.binance.markets import base_url, is_loopback
    from flowtape.stream.instrument import Instrument

    names = list(dict.fromkeys(symbol.upper() for symbol in symbols))
    for name in names:
        Instrument(name, cast("Market", market), 0, 0)
    today = datetime.now(UTC).date()
    archive = base_url(archive_url or ARCHIVE_URL, ("http", "https"), "--archive-url")
    if rest_url is not None:
        rest_url = base_url(rest_url, ("http", "https"), "--rest-url")
    elif is_loopback(archive):
        # What is played here has ids of its own, which Binance's must not be mixed with.
        rest_url = archive
    wanted = _Wanted(
        names,
        cast("Market", market),
        day_range(from_, to, today),
        today,
        archive,
        rest_url,
        common.tapes_dir(tapes, home),
        jobs,
        "auto" if monthly is None else "monthly" if monthly else "daily",
        refill,
        keep,
        as_json,
    )
    try:
        fetcher = asyncio.run(_fetch(wanted))
    except (KeyboardInterrupt, asyncio.CancelledError) as stop:
        typer.echo("what came is kept; run the same command again to go on", err=True)
        by_hand = isinstance(stop, KeyboardInterrupt)
        raise typer.Exit(_INTERRUPTED if by_hand else _TERMINATED) from None
    found = list(fetcher.found.values())
    if fetcher.down is not None and not any(one.days_that("fetched") for one in found):
        raise fetcher.down
    if as_json:
        _print_json(wanted, found)
    else:
        for one in found:
            _say(wanted, one)
        if keep and any(one.file_bytes for one in found):
            typer.echo(f"files are kept in {fetcher.folder}")
    raise typer.Exit(0 if all(one.complete for one in found) else 1)


async def _fetch(wanted: _Wanted) -> "Fetcher":
    from flowtape.cli.fetching import Fetcher
    from flowtape.connectors.binance.archive_client import ArchiveClient
    from flowtape.connectors.binance.markets import market_api
    from flowtape.connectors.binance.rest import RestClient
    from flowtape.replay.tapes import TapeStore

    task = asyncio.current_task()
    assert task is not None
    # An exception out of a signal's handler would leave tasks behind; Ctrl-C cancels already.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with _bar(wanted=not wanted.as_json) as bar:
        async with ArchiveClient(
            wanted.archive_url, clock_us=_clock_us, rng=random.Random(), tell=bar.tell
        ) as client:
            fetcher = Fetcher(
                TapeStore(wanted.tapes),
                wanted.market,
                wanted.days,
                client,
                jobs=wanted.jobs,
                choice=wanted.choice,
                keep=wanted.keep,
                watcher=bar,
            )
            await fetcher.run(wanted.symbols)
        if wanted.refill and fetcher.down is None and wanted.market != "cm":
            api = market_api(wanted.market)
            rest_url = wanted.rest_url or api.rest_url
            async with RestClient(api, rest_url, clock_us=_clock_us, rng=random.Random()) as rest:
                await fetcher.refill(rest, wanted.today)
    return fetcher


def _clock_us() -> int:
    return time.monotonic_ns() // 1_000


def _say(wanted: _Wanted, found: "SymbolFetch") -> None:
    from flowtape.replay.words import counted

    counts = [
        (found.days_that("fetched"), "fetched"),
        (found.days_that("refilled"), "filled over REST"),
        (found.days_that("there"), "there already"),
        (found.days_that("unserved"), "not in the archive"),
        (found.days_that("failed"), "failed"),
    ]
    said = ", ".join(f"{len(days)} {what}" for days, what in counts if days)
    size = f" from {max(found.file_bytes, 100_000) / 1e6:,.1f} MB" if found.file_bytes else ""
    typer.echo(
        f"{wanted.market}/{found.symbol}: {counted(len(wanted.days), 'day')}: {said}; "
        f"{counted(found.added_count, 'new trade')}{size}"
    )
    for line in [*found.notes, *_unserved(wanted, found), *_failed(found), *_ids(wanted, found)]:
        typer.echo(f"  {line}")


def _unserved(wanted: _Wanted, found: "SymbolFetch") -> list[str]:
    days = found.days_that("unserved")
    if len(days) == len(wanted.days) and wanted.today - days[-1] > timedelta(days=_LATE_DAYS):
        return [
            f"the archive has nothing of {wanted.market}/{found.symbol} on these days; check the "
            "symbol and --market, or when it was listed"
        ]
    lines = []
    for first, last in _runs(days):
        late = wanted.today - last <= timedelta(days=_LATE_DAYS)
        hint = (
            "not published yet; a day mostly comes out on the next one, so try again later"
            if late
            else "not in the archive; it may lack this for good"
        )
        lines.append(f"{_span(first, last)}: {hint}")
    return lines


def _failed(found: "SymbolFetch") -> list[str]:
    reasons: dict[str, list[date]] = {}
    for day in found.days_that("failed"):
        reasons.setdefault(found.reasons[day], []).append(day)
    lines = [
        f"{', '.join(_span(*run) for run in _runs(days))}: {reason}"
        for reason, days in reasons.items()
    ]
    return [*lines, "run the same command again for what failed"] if lines else []


def _ids(wanted: _Wanted, found: "SymbolFetch") -> list[str]:
    from flowtape.replay.words import counted

    lines = []
    if found.refilled.trade_count:
        lines.append(f"{counted(found.refilled.trade_count, 'trade')} came over REST")
    if found.missing:
        missing = sum(gap.to_id - gap.from_id + 1 for gap in found.missing)
        spans = [f"{gap.from_id}-{gap.to_id}" for gap in found.missing[:3]]
        more = ", ..." if len(found.missing) > 3 else ""
        why = found.refilled.problem or (
            "REST has no futures on coins here"
            if wanted.market == "cm"
            else "REST does not have them"
            if wanted.refill
            else "REST was not asked"
        )
        lines.append(
            f"{counted(missing, 'id')} missing in {counted(len(found.missing), 'hole')}: "
            f"{', '.join(spans)}{more} ({why})"
        )
    elif found.refilled.problem:
        lines.append(
            f"whether the first and last day are whole was not checked: {found.refilled.problem}"
        )
    return lines


def _runs(days: list[date]) -> list[tuple[date, date]]:
    runs: list[tuple[date, date]] = []
    for day in days:
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def _span(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _print_json(wanted: _Wanted, found: list["SymbolFetch"]) -> None:
    import msgspec

    answer = {
        "tapes": str(wanted.tapes),
        "market": wanted.market,
        "complete": all(one.complete for one in found),
        "symbols": {one.symbol: _as_json(one) for one in found},
    }
    typer.echo(msgspec.json.encode(answer))


def _as_json(found: "SymbolFetch") -> dict[str, Any]:
    return {
        "days": {
            day.isoformat(): {
                "state": state,
                "row_count": found.row_counts.get(day, 0),
                "reason": found.reasons.get(day, ""),
            }
            for day, state in sorted(found.states.items())
        },
        "added_count": found.added_count,
        "file_bytes": found.file_bytes,
        "refilled_count": found.refilled.trade_count,
        "refill_problem": found.refilled.problem,
        "missing_ids": [[gap.from_id, gap.to_id] for gap in found.missing],
        "notes": found.notes,
    }


class _Bar:
    """Adds up what is downloaded; draws it where stderr is a terminal."""

    def __init__(self, draw: Callable[[str, int, int], None], tell: Callable[[str], None]) -> None:
        self._draw = draw
        self.tell = tell
        self._sizes: dict[ArchiveEntry, int] = {}
        self._have: dict[ArchiveEntry, int] = {}
        self._file_count = 0

    def planned(self, file_count: int) -> None:
        """Reckon with so many more files."""
        self._file_count += file_count

    def progress(self, entry: "ArchiveEntry", have_bytes: int, size_bytes: int) -> None:
        """Take how much of a file is there."""
        self._have[entry], self._sizes[entry] = have_bytes, max(size_bytes, have_bytes)
        self.doing(f"{entry.name} ({len(self._sizes)} of {self._file_count})")

    def doing(self, what: str) -> None:
        """Take what is done now; bytes are reckoned from the files that were begun."""
        begun = max(len(self._sizes), 1)
        total = sum(self._sizes.values()) * self._file_count // begun
        self._draw(what, sum(self._have.values()), total)


@contextmanager
def _bar(*, wanted: bool) -> Iterator[_Bar]:
    if not (wanted and sys.stderr.isatty()):
        yield _Bar(lambda *_: None, lambda line: typer.echo(line, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("asking the archive", total=None)
        yield _Bar(
            lambda label, have, total: bar.update(
                task, description=label, completed=have, total=total
            ),
            lambda line: bar.console.print(line, markup=False, highlight=False),
        )
