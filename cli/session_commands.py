"""`flowtape sessions` and `verify`: sessions that were kept."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.export_commands import SessionRef, found
from flowtape.cli.keeping import opener, strategy_of
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.verifying import Verdict
    from flowtape.stream.session import Session

DIFFERS, OTHER_SEMANTICS = 1, 3

# How many inputs are given at once by `verify --matrix`.
_CUTS = (7, 64, 4096)


def sessions(home: common.Home = None, as_json: common.Json = False) -> None:
    """List the sessions that were kept: span, symbols, orders, P&L, digest, state.

    Example: flowtape sessions
    """
    from flowtape.replay.session_store import SessionStore
    from flowtape.stream.session import Session, SessionError

    store = SessionStore(common.sessions_dir(home))
    found = []
    for folder in store.folders():
        # One that is damaged does not hide the others.
        try:
            found.append(Session.open(folder))
        except SessionError as error:
            typer.echo(f"flowtape: {error}", err=True)
    if as_json:
        typer.echo(json.dumps([_described(one) for one in found], indent=2))
        return
    if not found:
        typer.echo(
            f"no sessions below {store.root}; keep one with: "
            "flowtape live SYMBOL, or flowtape replay TAPE --record"
        )
    for session in found:
        typer.echo(_line(session))


def verify(
    session: SessionRef,
    deep: Annotated[
        bool, typer.Option("--deep", help="Run the strategy again and compare its commands.")
    ] = False,
    structure: Annotated[
        bool, typer.Option("--structure", help="Compare inputs, commands and chain only.")
    ] = False,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Again, with the inputs cut in other ways.")
    ] = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="Where the strategy lies now, if not where it lay.",
            show_default=False,
        ),
    ] = None,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Run a session again and compare it with what was kept, block by block.

    Exits 0 when it is the same, 1 when it differs, 2 when it cannot be read, 3 when this flowtape
    counts otherwise than the one that made it.

    Example: flowtape verify last --deep
    """
    from flowtape.replay.structure import check_structure
    from flowtape.replay.verifying import OtherSemanticsError
    from flowtape.replay.verifying import verify as run_again

    if structure and (deep or matrix):
        raise InputError("--structure runs nothing; leave --deep and --matrix out")
    if strategy is not None and not deep:
        raise InputError("--strategy is for --deep")
    with found(session, home) as opened:
        chosen = strategy_of(opened, strategy) if deep else None
        if deep and chosen is None:
            raise InputError(
                f"session {opened.id} ran no strategy; there is nothing to decide again"
            )
        rows = sum(ref.row_count for ref in opened.genesis.tapes)
        try:
            if structure:
                verdict = check_structure(opened, opener(tapes, home))
            else:
                with common.progress("verifying", rows, wanted=not as_json) as tick:
                    verdict = run_again(opened, opener(tapes, home), chosen, tick)
            for cut in _CUTS if matrix and verdict.difference is None else ():
                verdict = run_again(opened, opener(tapes, home), chosen, cut=cut)
                if verdict.difference is not None:
                    break
        except OtherSemanticsError as error:
            typer.echo(f"flowtape: {error}", err=True)
            raise typer.Exit(OTHER_SEMANTICS) from None
        said = "fits together" if structure else "is the same"
        _say(opened, verdict, said, as_json=as_json)
    if verdict.difference is not None:
        raise typer.Exit(DIFFERS)


def _say(session: "Session", verdict: "Verdict", said: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(verdict), indent=2))
        return
    if verdict.difference is not None:
        typer.echo(f"session {session.id} differs: {verdict.difference}")
        return
    until = "" if verdict.ended else ", as far as it was kept"
    typer.echo(
        f"session {session.id} {said}{until}: {verdict.input_count:,} inputs, "
        f"{verdict.command_count:,} commands, {verdict.block_count:,} blocks"
    )
    if verdict.open_count:
        typer.echo(
            f"{verdict.open_count:,} more inputs are kept, in a block that is not closed yet"
        )
    for gap in verdict.gaps:
        typer.echo(f"gap: {gap.symbol} {gap.from_id} to {gap.to_id} are missing")
    typer.echo(f"digest {verdict.digest}")


def _described(session: "Session") -> dict[str, object]:
    summary = session.summary
    return {
        "id": session.id,
        "label": session.label,
        "created": session.created,
        "symbols": [one.symbol for one in session.genesis.instruments],
        "strategy": session.genesis.strategy.name if session.genesis.strategy else None,
        "state": _state(session),
        **({} if summary is None else asdict(summary)),
    }


def _state(session: "Session") -> str:
    if session.ended:
        return "ended"
    return "goes on" if session.goes_on else "was left"


def _line(session: "Session") -> str:
    from flowtape.replay.layout import time_text

    symbols = "+".join(one.symbol for one in session.genesis.instruments)
    strategy = session.genesis.strategy
    name = Path(strategy.name.rpartition(":")[2]).name if strategy else "no strategy"
    summary = session.summary
    told = _state(session)
    if summary is not None:
        span = f"{time_text(summary.start_us)} to {time_text(summary.end_us)}"
        told = (
            f"{span}  {summary.order_count:,} orders  net P&L {float(summary.net_pnl):,.2f}  "
            f"{summary.digest[:12]}"
        )
    label = f"  {session.label}" if session.label else ""
    return f"{session.id}  {symbols}  {name}  {told}{label}"
