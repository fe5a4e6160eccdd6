"""Binance's public archive: which files there are, and which of them a span of days needs.

Source: the download scripts of binance-public-data.
"""

import calendar
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from urllib.parse import quote

from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Market

ARCHIVE_URL = "https://data.binance.vision"
FIRST_DAY = date(2017, 1, 1)
"""Binance opened in 2017; nothing of it is older."""

MICROSECONDS_SINCE = date(2025, 1, 1)
"""Spot files from this day on count microseconds; all others milliseconds."""

FOLDERS: dict[Market, str] = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
CHECKSUM_SUFFIX = ".CHECKSUM"

Choice = Literal["auto", "monthly", "daily"]


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """A zip of the archive: the trades of a symbol on one UTC day, or in one month.

    `day` is the first day of the month where `monthly`.
    """

    symbol: str
    market: Market
    day: date
    monthly: bool = False

    @property
    def name(self) -> str:
        """Return the name of the zip."""
        return f"{self.symbol}-aggTrades-{self.day.isoformat()[: 7 if self.monthly else 10]}.zip"

    @property
    def path(self) -> str:
        """Return where the zip lies below the archive's address, quoted for a URL."""
        period = "monthly" if self.monthly else "daily"
        folder = f"data/{FOLDERS[self.market]}/{period}/aggTrades"
        return f"{folder}/{quote(self.symbol)}/{quote(self.name)}"

    @property
    def days(self) -> tuple[date, ...]:
        """Return the days whose trades are in the zip."""
        return month_days(self.day) if self.monthly else (self.day,)


def plan(
    symbol: str,
    market: Market,
    asked: Collection[date],
    needed: Collection[date],
    choice: Choice = "auto",
) -> list[ArchiveEntry]:
    """Return the files that have each needed day once, oldest first.

    Months come as one file where all their days are asked for, and all are needed (`auto`) or any
    is (`monthly`); `daily` takes a file for each day.
    """
    found = []
    for first in sorted({day.replace(day=1) for day in needed}):
        month = month_days(first)
        missing = [day for day in month if day in needed]
        whole = all(day in asked for day in month) and choice != "daily"
        if whole and (choice == "monthly" or len(missing) == len(month)):
            found.append(ArchiveEntry(symbol, market, first, monthly=True))
        else:
            found += [ArchiveEntry(symbol, market, day) for day in missing]
    return found


def day_range(from_: str, to: str | None, today: date) -> list[date]:
    """Return the days of `--from` to `--to`, both included; `to` is `from_` when None.

    Each is a day or a month. Raises InputError when they are neither, in the wrong order, before
    Binance, or not over yet.
    """
    first = _days(from_, "--from")[0]
    last = _days(to or from_, "--to")[-1]
    if first > last:
        raise InputError(f"--from {first} is after --to {last}; swap them")
    if first < FIRST_DAY:
        raise InputError(f"--from {first} is before {FIRST_DAY}; Binance opened in 2017")
    if last >= today:
        named = "--from" if first >= today or to is None else "--to"
        raise InputError(
            f"{named} {first if first >= today else last} is not over yet in UTC; the archive has "
            f"whole days, the last one that may be there is {today - timedelta(days=1)}"
        )
    return list(days_between(first, last))


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from `first` to `last`, both included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def month_days(day: date) -> tuple[date, ...]:
    """Return all days of the month that `day` lies in."""
    last = calendar.monthrange(day.year, day.month)[1]
    return tuple(days_between(day.replace(day=1), day.replace(day=last)))


def day_start_us(day: date) -> int:
    """Return when a UTC day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _days(text: str, option: str) -> tuple[date, ...]:
    try:
        if len(text) == len("2026-01"):
            return month_days(date.fromisoformat(f"{text}-01"))
        return (date.fromisoformat(text),)
    except ValueError:
        raise InputError(
            f"{option} must be a UTC day or month such as 2026-01-01 or 2026-01, was {text!r}"
        ) from None
