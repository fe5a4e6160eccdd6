"""`flowtape import`, `doctor` and `tapes`: files into tapes, and how they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flowtape.cli import common

if TYPE_CHECKING:
    from flowtape.replay.doctor import TapeHealth, TapeSummary
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
        list[Path],
        typer.Argument(
            help="Archive files, CSV, or captures of lines, packed or not, in any order.",
            metavar="FILE",
        ),
    ],
    symbol: Annotated[str, typer.Option("--symbol", help="What was traded, such as BTCUSDT.")],
    market: MarketName,
    columns: Columns = None,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Import files from Binance's public archive, any CSV of trades, or captures of its streams.

    What a file is, is told by its content. A capture has a message of JSON a line, maybe behind its
    receive time; of its trades, those of the symbol are taken. All files are imported or none.
    Importing a file again changes nothing.

    Example: flowtape import BTCUSDT-aggTrades-2026-01-01.zip --symbol BTCUSDT --market spot
    """
    import msgspec

    from flowtape.replay.archive_csv import parse_columns
    from flowtape.replay.doctor import file_problems
    from flowtape.replay.importer import import_files
    from flowtape.replay.tapes import TapeStore
    from flowtape.replay.words import counted

    store = TapeStore(common.tapes_dir(tapes, home))
    with _bar("importing", wanted=not as_json) as progress:
        result = import_files(
            store,
            files,
            symbol.upper(),
            cast("Market", market),
            columns=None if columns is None else parse_columns(columns),
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
    days = counted(len(result.days), "day")
    typer.echo(f"{name}: {counted(added_count, 'new trade')} on {days}, in {store.root}")
    if conflict_count:
        verb = "contradicts" if conflict_count == 1 else "contradict"
        typer.echo(f"  {counted(conflict_count, 'row')} {verb} what was there, so left out")
    for path, report in zip(files, result.files, strict=True):
        _say(str(path), _rows(report), file_problems(report))


def doctor(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A file of trades, or a tape: its symbol or its folder."
        ),
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
    from flowtape.replay.session_tape import tape_store_of
    from flowtape.replay.tapes import TapeStore
    from flowtape.stream.session import Session

    path = Path(target)
    if (path / "genesis.json").is_file():
        path = tape_store_of(Session.open(path)).root
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
    _print_table([_cells(tape) for tape in found], right={1, 4})


def _cells(tape: "TapeSummary") -> list[str]:
    from flowtape.replay.words import counted

    name = f"{tape.market}/{tape.symbol}"
    if tape.problem:
        return [name, tape.problem]
    health = "whole"
    if tape.missing_count:
        missing, holes = counted(tape.missing_count, "id"), counted(tape.hole_count, "hole")
        health = f"{missing} missing in {holes}"
    days = f"{tape.first_day} to {tape.last_day}"
    if tape.first_day == tape.last_day:
        days = str(tape.first_day)
    size = f"{max(tape.size_bytes, 100_000) / 1e6:,.1f} MB"
    return [name, counted(tape.row_count, "trade"), days, counted(tape.day_count, "day"), size,
            health]  # fmt: skip


def _print_table(rows: list[list[str]], right: set[int]) -> None:
    from rich.cells import cell_len

    widths = [0] * max(map(len, rows), default=0)
    for row in rows:
        # What stands last in its row may be as long as it likes.
        for column, cell in enumerate(row[:-1]):
            widths[column] = max(widths[column], cell_len(cell))
    for row in rows:
        padded = []
        for column, cell in enumerate(row[:-1]):
            space = " " * (widths[column] - cell_len(cell))
            padded.append(space + cell if column in right else cell + space)
        typer.echo("  ".join([*padded, row[-1]]))


def _examine_file(path: Path, columns: str | None, *, as_json: bool) -> int:
    from flowtape.replay.archive_csv import parse_columns
    from flowtape.replay.doctor import examine_file, file_problems

    with _bar("examining", wanted=not as_json) as progress:
        report = examine_file(
            path,
            columns=None if columns is None else parse_columns(columns),
            progress=progress,
        )
    problems = file_problems(report)
    if as_json:
        _print_json(report, problems)
    else:
        units = {"ms": "times in ms", "us": "times in us", "mixed": "times in ms and us"}
        what = f"{_rows(report)}, {units[report.time_unit]}"
        _say(str(path), what, problems)
    return 1 if problems else 0


def _rows(report: "FileHealth") -> str:
    from flowtape.replay.words import counted

    capture = report.capture
    if capture is None:
        return counted(report.row_count, "row")
    passed = (
        (capture.other_symbol_count, "trade", "of other symbols"),
        (capture.other_market_count, "trade", "on another market"),
        (capture.other_message_count, "other message", ""),
    )
    said = [f"{counted(n, thing)} {which}".rstrip() for n, thing, which in passed if n]
    inside = f"{counted(report.row_count, 'trade')} in {counted(capture.line_count, 'line')}"
    return inside + (f" (passed over: {', '.join(said)})" if said else "")


def _examine_tape(store: "TapeStore", ref: str, *, repair: bool, as_json: bool) -> int:
    from flowtape.replay.doctor import examine_tape, repair_tape, tape_problems
    from flowtape.replay.words import counted

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
        what = f"{counted(row_count, 'trade')} on {counted(report.day_count, 'day')}"
        _say(f"{report.market}/{report.symbol}", what, problems)
    if report.damaged:
        return 2
    return 1 if problems else 0


def _print_json(report: "FileHealth | TapeHealth", problems: list[str]) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(msgspec.to_builtins(report) | {"problems": problems}))


def _say(name: str, what: str, problems: list[str]) -> None:
    typer.echo(f"{name}: {what}, " + ("nothing wrong" if not problems else "but:"))
    for problem in problems:
        typer.echo(f"  {problem}")


@contextmanager
def _bar(label: str, *, wanted: bool) -> Iterator[Callable[[int, int], None]]:
    with common.progress(label, _STEPS, wanted=wanted) as tick:
        yield lambda done, total: tick(_STEPS * done // max(total, 1))
