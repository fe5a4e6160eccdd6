"""`flowtape import`, `doctor` and `tapes`: files into tapes, and how they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flowtape.cli import common

if TYPE_CHECKING:
    from flowtape.replay.doctor import TapeHealth
    from flowtape.replay.health import FileHealth
    from flowtape.replay.tapes import TapeStore
    from flowtape.stream.instrument import Market

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Columns of a CSV that is not Binance's, by name or number: "
        "ts=...,price=...,qty=...,id=...,side=... (or is_buyer_maker=...), "
        "and maybe first_id=...,last_id=...",
        show_default=False,
    ),
]
MarketName = Annotated[str, typer.Option("--market", help="spot, um or cm.")]

_STEPS = 1_000


def import_(
    files: Annotated[
        list[Path], typer.Argument(help="Archive files, CSV or zip, in any order.", metavar="FILE")
    ],
    symbol: Annotated[str, typer.Option("--symbol", help="What was traded, such as BTCUSDT.")],
    market: MarketName,
    columns: Columns = None,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Import files from Binance's public archive, or any CSV of trades, into a tape.

    All files are imported or none. Importing a file again changes nothing.

    Example: flowtape import BTCUSDT-aggTrades-2026-01-01.zip --symbol BTCUSDT --market spot
    """
    import msgspec

    from flowtape.replay.archive_csv import parse_columns
    from flowtape.replay.doctor import file_problems
    from flowtape.replay.importer import import_files
    from flowtape.replay.tapes import TapeStore

    store = TapeStore(common.tapes_dir(tapes, home))
    with _bar("importing", wanted=not as_json) as progress:
        result = import_files(
            store,
            files,
            symbol.upper(),
            cast("Market", market),
            columns=parse_columns(columns) if columns else None,
            progress=progress,
        )
    name = f"{result.instrument.market}/{result.instrument.symbol}"
    added_count = sum(day.added_count for day in result.days)
    conflict_count = sum(day.conflict_count for day in result.days)
    if as_json:
        answer = {
            "tape": name,
            "tapes": str(store.root),
            "added_count": added_count,
            "conflict_count": conflict_count,
            "days": {day.day.isoformat(): day.row_count for day in result.days},
            "files": result.files,
        }
        typer.echo(msgspec.json.encode(answer))
        return
    days = _counted(len(result.days), "day")
    typer.echo(f"{name}: {added_count:,} new trades on {days}, in {store.root}")
    if conflict_count:
        typer.echo(f"  {conflict_count:,} rows contradict what was there and were left out")
    for report in result.files:
        _say(report.name, f"{report.row_count:,} rows", file_problems(report))


def doctor(
    target: Annotated[
        str, typer.Argument(help="A file of trades, or a tape: its symbol or its folder.")
    ],
    columns: Columns = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right reports, fast copies, leftovers.")
    ] = False,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Examine a file of trades or a tape; exits 1 when something is wrong, 2 when unreadable.

    --repair never touches trades or your files.

    Example: flowtape doctor BTCUSDT --repair
    """
    from flowtape.replay.tapes import TapeStore

    path = Path(target)
    if path.is_file() and path.suffix != ".parquet":
        code = _examine_file(path, columns, as_json=as_json)
    else:
        # The folder of a recording is a store of its own.
        own_store = path.is_dir() and any(path.glob("venue=*"))
        store = TapeStore(path if own_store else common.tapes_dir(tapes, home))
        ref = store.only() if own_store else target
        code = _examine_tape(store, ref, repair=repair, as_json=as_json)
    raise typer.Exit(code)


def tapes(
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """List the tapes there are: trades, days, size, health.

    Example: flowtape tapes --json
    """
    import msgspec

    from flowtape.replay.doctor import summarize
    from flowtape.replay.tapes import TapeStore

    root = common.tapes_dir(tapes, home)
    found = summarize(TapeStore(root))
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    if not found:
        typer.echo(f"no tapes in {root}; make one with `flowtape import` or `flowtape record`")
    for tape in found:
        health = "whole"
        if tape.missing_count:
            health = f"{tape.missing_count:,} ids missing in {_counted(tape.hole_count, 'hole')}"
        days = f"{tape.first_day} to {tape.last_day} ({_counted(tape.day_count, 'day')})"
        typer.echo(
            f"{tape.market + '/' + tape.symbol:20s} {tape.row_count:>14,} trades  {days:38s} "
            f"{tape.size_bytes / 1e6:>10,.1f} MB  {tape.problem or health}"
        )


def _examine_file(path: Path, columns: str | None, *, as_json: bool) -> int:
    from flowtape.replay.archive_csv import parse_columns
    from flowtape.replay.doctor import examine_file, file_problems

    with _bar("examining", wanted=not as_json) as progress:
        report = examine_file(
            path, columns=parse_columns(columns) if columns else None, progress=progress
        )
    problems = file_problems(report)
    if as_json:
        _print_json(report, problems)
    else:
        _say(report.name, f"{report.row_count:,} rows in {report.time_unit}", problems)
    return 1 if problems else 0


def _examine_tape(store: "TapeStore", ref: str, *, repair: bool, as_json: bool) -> int:
    from flowtape.replay.doctor import examine_tape, repair_tape, tape_problems

    if repair:
        for line in repair_tape(store, ref):
            typer.echo(line, err=as_json)
    with _bar("examining", wanted=not as_json) as progress:
        report = examine_tape(store, ref, progress=progress)
    problems = tape_problems(report)
    if as_json:
        _print_json(report, problems)
    else:
        row_count = report.sequence.row_count if report.sequence else 0
        what = f"{row_count:,} trades on {_counted(report.day_count, 'day')}"
        _say(f"{report.market}/{report.symbol}", what, problems)
    if report.damaged:
        return 2
    return 1 if problems else 0


def _print_json(report: "FileHealth | TapeHealth", problems: list[str]) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(msgspec.to_builtins(report) | {"problems": problems}))


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _say(name: str, what: str, problems: list[str]) -> None:
    typer.echo(f"{name}: {what}, " + ("nothing wrong" if not problems else "but:"))
    for problem in problems:
        typer.echo(f"  {problem}")


@contextmanager
def _bar(label: str, *, wanted: bool) -> Iterator[Callable[[int, int], None]]:
    with common.progress(label, _STEPS, wanted=wanted) as tick:
        yield lambda done, total: tick(_STEPS * done // max(total, 1))
