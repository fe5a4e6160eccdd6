"""`flowtape export` and `unpack`: sessions for other tools, and for other people."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.keeping import opener, strategy_of

if TYPE_CHECKING:
    from flowtape.stream.session import Session

SessionRef = Annotated[
    str,
    typer.Argument(metavar="SESSION", help="An id, how it begins, a folder, a bundle, or `last`."),
]


def export(
    session: SessionRef,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="FILE.parquet or FILE.csv for the trades, FILE.zip for a bundle, or a folder.",
        ),
    ],
    tapes: common.Tapes = None,
    home: common.Home = None,
) -> None:
    """Write a session for other tools: its trades, its results, or all it needs to be run again.

    A folder gets trades.parquet and, as Parquet and CSV, fills, orders and equity. A .zip is a
    bundle of session, tapes and strategy, which `flowtape verify FILE.zip` checks anywhere.

    Example: flowtape export last --out session.parquet
    """
    from flowtape.replay.backtest import result_of
    from flowtape.replay.bundle import write_bundle
    from flowtape.replay.export import export_results, export_trades
    from flowtape.replay.sessions import run_as_recorded
    from flowtape.replay.words import counted

    with found(session, home) as opened:
        open_tape = opener(tapes, home)
        if out.suffix == ".zip":
            write_bundle(opened, open_tape, strategy_of(opened, None), out)
            typer.echo(f"written to {out}; check it anywhere with: flowtape verify {out.name}")
            return
        if out.suffix in {".parquet", ".csv"}:
            count = export_trades(opened, open_tape, out)
            typer.echo(f"{counted(count, 'trade')} written to {out}")
            return
        names = []
        if export_trades(opened, open_tape, out / "trades.parquet"):
            names.append("trades.parquet")
        names += export_results(result_of(run_as_recorded(opened, open_tape)), out)
        typer.echo(f"written to {out}: {', '.join(names)}")


def unpack(
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle, FILE.zip.")],
    home: common.Home = None,
) -> None:
    """Take a bundle in among the sessions, to replay it, branch from it or run it again.

    Example: flowtape unpack session.zip
    """
    from flowtape.replay import bundle as bundles

    session = bundles.unpack(bundle, common.sessions_dir(home))
    typer.echo(f"session {session.id} is there; watch it with: flowtape replay {session.id}")


@contextlib.contextmanager
def found(ref: str, home: Path | None) -> "Iterator[Session]":
    """Open a session by what a person called it; a bundle is unpacked for as long as it is used."""
    from flowtape.replay.bundle import is_bundle, unpack
    from flowtape.replay.session_store import SessionStore

    if is_bundle(Path(ref)):
        with tempfile.TemporaryDirectory(prefix="flowtape-") as folder:
            yield unpack(Path(ref), Path(folder))
        return
    yield SessionStore(common.sessions_dir(home)).open(ref)
