"""`flowtape backtest`: a strategy over tapes, or a session again, at full speed."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.engines import config_of, engine_of, stream_of
from flowtape.cli.keeping import (
    TapeInputs,
    digest_words,
    finish,
    kept,
    opener,
    refuse_settings,
    strategy_of,
)
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.session_rows import OpenTape
    from flowtape.stream.engine import Engine
    from flowtape.stream.session import Session
    from flowtape.stream.strategy import Strategy

# What may be said of a session, which has all other settings from its genesis.
_OF_SESSIONS = {"context", "tape", "strategy", "out", "order", "tapes", "home", "as_json"}


def backtest(
    context: typer.Context,
    tape: Annotated[
        list[str],
        typer.Argument(
            metavar="TAPE",
            help="Symbols, tape folders or recordings; or one session that was kept.",
        ),
    ],
    strategy: common.StrategyName = None,
    set_: common.Settings = None,
    from_: common.From = None,
    to: common.To = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results.")] = None,
    order_flow: Annotated[
        bool,
        typer.Option(
            "--order-flow/--no-order-flow",
            help="Work out bars and the like; without, the same fills come faster.",
        ),
    ] = True,
    record: common.Record = False,
    label: common.Label = "",
    retain: common.Retain = None,
    order: Annotated[
        list[int] | None,
        typer.Option("--order", help="Tell all that happened to this order.", show_default=False),
    ] = None,
    latency: common.Latency = "20ms",
    cash: common.Cash = "100000",
    maker_fee_ppm: common.MakerFee = 1000,
    taker_fee_ppm: common.TakerFee = 1000,
    fills: common.Fills = "queued",
    spread_bps: common.SpreadBps = 2,
    account: common.Account = "free",
    leverage: common.Leverage = 1,
    lanes: common.Lanes = True,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Run a strategy over a tape and write report.html, metrics.json, equity.csv, fills.csv.

    Several tapes are traded with one account. A session is run again as it was, people's orders
    included, to the same fills and the same digest.

    Example: flowtape backtest BTCUSDT --strategy examples/delta_divergence.py:DeltaDivergence
    """
    from flowtape.replay import backtest as batch
    from flowtape.replay.track import fold

    root = common.tapes_dir(tapes, home)
    session = common.session_named(tape, home)
    if session is not None and session.genesis.strategy is None and strategy is not None:
        # What was only recorded is traded on like any tape.
        tape, session = [str(session.folder)], None
    if session is not None:
        refuse_settings(context, _OF_SESSIONS)
        chosen: Strategy | None = strategy_of(session, strategy)
        symbols = session.id
    else:
        if strategy is None:
            raise InputError("backtest needs --strategy MODULE:CLASS, or the id of a session")
        chosen = common.strategy_named(strategy, set_)
        start_us, end_us = common.parse_range_us(from_, to)
        opened = [common.open_tape(ref, root, start_us, end_us) for ref in tape]
        symbols = "+".join(one.instrument.symbol for one in opened)
    ran = type(chosen).__name__ if chosen is not None else "session"
    folder = out or Path(f"backtest-{ran}-{symbols}")
    batch.check_folder(folder)
    if session is not None:
        engine, said = _run_session(session, chosen, opener(tapes, home), told=not as_json)
    else:
        settings = common.engine_settings(
            latency,
            cash,
            maker_fee_ppm,
            taker_fee_ppm,
            fills,
            spread_bps,
            account,
            leverage,
            lanes,
        )
        config = config_of(opened, chosen, settings, order_flow=order_flow)
        stream, said = stream_of(opened), ""
        with contextlib.ExitStack() as stack:
            writer = None
            if record:
                inputs = TapeInputs(tape, opened, start_us, end_us)
                genesis = inputs.genesis(config, chosen, strategy)
                root_of_all = common.sessions_dir(home)
                keeping = kept(
                    genesis, root_of_all, label=label, places=inputs.places, retain=retain
                )
                writer = stack.enter_context(keeping)
            engine = engine_of(opened, chosen, config, shown=False, writer=writer)
            with common.progress("backtesting", len(stream), wanted=not as_json) as tick:
                fold(engine, stream.read_batches(cached=True), tick)
            if writer is not None:
                said = finish(writer, engine)
    metrics = _write(folder, engine)
    if as_json:
        typer.echo(metrics)
        return
    common.print_metrics(json.loads(metrics))
    typer.echo(f"digest {engine.digest()}")
    if said:
        typer.echo(said)
    typer.echo(f"written to {folder}: report.html, metrics.json, equity.csv, fills.csv")
    for order_id in order or ():
        typer.echo("\n".join(engine.order(order_id).lines()))


def _write(folder: Path, engine: "Engine") -> str:
    """Write the files of a run that has ended; returns its metrics as JSON."""
    from flowtape.dashboards.tearsheet import tearsheet
    from flowtape.replay import backtest as batch
    from flowtape.replay.result_tables import equity_table, fills_table

    result = batch.result_of(engine)
    metrics = batch.metrics_json(result)
    report = tearsheet(result.instruments, result.ledger, json.loads(metrics), result.config.bar_us)
    batch.write_files(
        folder,
        {
            "report.html": report,
            "metrics.json": metrics + "\n",
            "equity.csv": equity_table(result).csv(),
            "fills.csv": fills_table(result).csv(),
        },
    )
    return metrics


def _run_session(
    session: "Session", strategy: "Strategy | None", open_tape: "OpenTape", *, told: bool
) -> "tuple[Engine, str]":
    from flowtape.replay.sessions import run_again

    rows = sum(ref.row_count for ref in session.genesis.tapes)
    with common.progress("backtesting", rows, wanted=told) as tick:
        engine, digest = run_again(session, open_tape, strategy, tick)
    return engine, digest_words(session, digest)
