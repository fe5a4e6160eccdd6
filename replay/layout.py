"""Where the files of a tape lie below a tape root.

`venue=binance/market=spot/symbol=BTCUSDT/date=2026-01-01/part-<first agg_id>.parquet`, days in UTC,
with a `health.json` in each day's folder. Folder names come from validated instruments only.
"""

import re
from datetime import UTC, date, datetime
from pathlib import Path

from flowtape.stream.errors import InputError
from flowtape.stream.instrument import MARKETS, Instrument

DAY_US = 86_400_000_000
HEALTH_NAME = "health.json"

_VENUES = ("binance",)
_PART = re.compile(r"part-(\d{1,19})\.parquet", re.ASCII)


def day_of(ts_us: int) -> date:
    """Return the UTC day of a time."""
    return datetime.fromtimestamp(ts_us // DAY_US * 86_400, UTC).date()


def time_text(ts_us: int) -> str:
    """Return a time for people, in UTC, to the second."""
    return datetime.fromtimestamp(ts_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def tape_folder(root: Path, instrument: Instrument) -> Path:
    """Return the folder of an instrument's tape."""
    if instrument.venue not in _VENUES:
        raise InputError(f"{instrument.venue!r} is not a venue; flowtape knows binance")
    names = (instrument.venue, instrument.market, instrument.symbol)
    return root.joinpath(
        *(f"{key}={name}" for key, name in zip(("venue", "market", "symbol"), names, strict=True))
    )


def day_folder(tape: Path, day: date) -> Path:
    """Return the folder of one UTC day of a tape."""
    return tape / f"date={day.isoformat()}"


def part_name(first_id: int) -> str:
    """Return the name of the part whose lowest aggregate id is `first_id`."""
    return f"part-{first_id}.parquet"


def list_tapes(root: Path) -> list[tuple[str, str, Path]]:
    """Return market, symbol and folder of every tape below `root`, sorted."""
    found = []
    for venue in _VENUES:
        for market in MARKETS:
            for folder in root.glob(f"venue={venue}/market={market}/symbol=*"):
                symbol = folder.name.removeprefix("symbol=")
                if is_symbol(symbol) and list_days(folder):
                    found.append((market, symbol, folder))
    return sorted(found)


def is_symbol(text: str) -> bool:
    """Tell whether `text` may name an instrument."""
    try:
        Instrument(text, "spot", 0, 0)
    except InputError:
        return False
    return True


def list_days(tape: Path) -> list[tuple[date, Path]]:
    """Return the days of a tape that have parts, with their folders, oldest first."""
    days = []
    for folder in tape.glob("date=*"):
        try:
            day = date.fromisoformat(folder.name.removeprefix("date="))
        except ValueError:
            continue
        if list_parts(folder):
            days.append((day, folder))
    return sorted(days)


def list_parts(folder: Path) -> list[Path]:
    """Return the parts in a day's folder by their first id."""
    named = [(m, path) for path in folder.iterdir() if (m := _PART.fullmatch(path.name))]
    return [path for m, path in sorted(named, key=lambda pair: int(pair[0].group(1)))]
