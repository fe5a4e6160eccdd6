"""What several commands share: where things lie, times, tapes, screens, progress."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.tapes import Tape
    from flowtape.stream.ports import Feed
    from flowtape.stream.session import Session
    from flowtape.stream.strategy import Strategy

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="FLOWTAPE_HOME",
        help="Folder for tapes and recordings.",
        show_default=False,
    ),
]
Tapes = Annotated[
    Path | None, typer.Option("--tapes", help="Folder of the tapes.", show_default=False)
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the dashboard.")]
StrategyName = Annotated[
    str | None,
    typer.Option("--strategy", help="package.module:Class or path/file.py:Class."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the strategy, as key=value.", show_default=False),
]
Latency = Annotated[str, typer.Option("--latency", help="From command to venue, such as 20ms.")]
Cash = Annotated[str, typer.Option("--cash", help="Paper money in the quote asset.")]
MakerFee = Annotated[
    float,
    typer.Option(
        "--maker-fee-ppm", min=-1_000_000, max=1_000_000, help="Maker fee, parts per million."
    ),
]
TakerFee = Annotated[
    float,
    typer.Option(
        "--taker-fee-ppm", min=-1_000_000, max=1_000_000, help="Taker fee, parts per million."
    ),
]
Fills = Annotated[
    str, typer.Option("--fills", help="queued, or spread: the simple model of any size.")
]
SpreadBps = Annotated[
    float, typer.Option("--spread-bps", min=0, max=10_000, help="Spread of the simple model.")
]
Account = Annotated[
    str, typer.Option("--account", help="free, spot or isolated; what the account may do.")
]
Leverage = Annotated[
    int, typer.Option("--leverage", min=1, max=1000, help="Of positions on isolated margin.")
]
Lanes = Annotated[
    bool,
    typer.Option("--lanes/--no-lanes", help="Settle optimistic and pessimistic fills as well."),
]
From = Annotated[
    str | None, typer.Option("--from", help="First UTC time, such as 2026-01-01T12:30.")
]
To = Annotated[str | None, typer.Option("--to", help="UTC time to end before.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

Record = Annotated[
    bool, typer.Option("--record", help="Keep the session, to be verified and run again.")
]
Retain = Annotated[
    str | None,
    typer.Option(
        "--retain",
        help="Delete sessions older than 30d, or the oldest beyond 20GB, when this one begins.",
        show_default=False,
    ),
]
Trade = Annotated[
    bool, typer.Option("--trade", help="Show an order ticket on the screen: paper orders by hand.")
]
Label = Annotated[str, typer.Option("--label", help="A name for the session that is kept.")]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_FINISH_S = 10.0
_SPAN_US_MAX = 366 * 86_400 * 1_000_000
_UNIT_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


def home_dir(option: Path | None = None) -> Path:
    """Return where a person's data lies: `--home`, FLOWTAPE_HOME or the system's data folder."""
    import platformdirs

    if option is not None:
        return option
    named = os.environ.get("FLOWTAPE_HOME")
    return Path(named) if named else platformdirs.user_data_path("flowtape")


def tapes_dir(option: Path | None = None, home: Path | None = None) -> Path:
    """Return the folder of the tapes: `--tapes`, or `tapes` in the home folder."""
    return option if option is not None else home_dir(home) / "tapes"


def sessions_dir(home: Path | None = None) -> Path:
    """Return the folder of the sessions: `sessions` in the home folder."""
    return home_dir(home) / "sessions"


def session_named(refs: list[str], home: Path | None = None) -> "Session | None":
    """Return the session that one word names in full: by its id, its folder, or `last`."""
    from flowtape.replay.session_store import SessionStore
    from flowtape.stream.session import is_id

    if len(refs) != 1:
        return None
    (ref,) = refs
    if not (is_id(ref) or ref == "last" or (Path(ref) / "genesis.json").is_file()):
        return None
    return SessionStore(sessions_dir(home)).open(ref)


def parse_time_us(text: str, name: str) -> int:
    """Return a UTC time such as `2026-01-01` or `2026-01-01T12:30:05` in microseconds."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{name} must be a UTC time such as 2026-01-01T12:30, was {text!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def parse_range_us(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """Return the times of `--from` and `--to` in microseconds."""
    start_us = None if from_ is None else parse_time_us(from_, "--from")
    end_us = None if to is None else parse_time_us(to, "--to")
    if start_us is not None and end_us is not None and start_us >= end_us:
        raise InputError(f"--from {from_} is not before --to {to}")
    return start_us, end_us


def parse_span_us(text: str, name: str) -> int:
    """Return a span such as `250us`, `20ms`, `30s`, `5m` or `1h` in microseconds."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{name} must be a span such as 20ms or 30s, was {text!r}")
    span_us = round(float(match.group(1)) * _UNIT_US[match.group(2)])
    if span_us > _SPAN_US_MAX:
        raise InputError(f"{name} must be at most a year, was {text!r}")
    return span_us


def engine_settings(
    latency: str,
    cash: str,
    maker_fee_ppm: float,
    taker_fee_ppm: float,
    fills: str,
    spread_bps: float,
    account: str,
    leverage: int,
    lanes: bool,
) -> dict[str, object]:
    """Return the settings of a paper account as arguments of `EngineConfig`."""
    from flowtape.stream.config import FEE_DECIMALS
    from flowtape.stream.decimals import parse_decimal
    from flowtape.stream.execution import AccountKind, FillModel

    try:
        enough = parse_decimal(cash, FEE_DECIMALS) > 0
    except InputError as error:
        raise InputError(f"--cash: {error}") from None
    if not enough:
        raise InputError(f"--cash must be more than 0, was {cash}")
    return {
        "latency_us": parse_span_us(latency, "--latency"),
        "initial_cash": cash,
        "maker_fee_ppb": round(maker_fee_ppm * 1000),
        "taker_fee_ppb": round(taker_fee_ppm * 1000),
        "fill_model": _member(FillModel, fills, "--fills"),
        "spread_ppm": round(spread_bps * 100),
        "account": _member(AccountKind, account, "--account"),
        "leverage": leverage,
        "all_lanes": lanes,
    }


def _member(kind: type[IntEnum], name: str, option: str) -> IntEnum:
    names = [member.name.lower() for member in kind]
    if name not in names:
        raise InputError(f"{option} must be {' or '.join(names)}, was {name!r}")
    return kind[name.upper()]


def strategy_named(name: str | None, settings: list[str] | None) -> "Strategy | None":
    """Return the strategy of `--strategy` and `--set`, if there is one."""
    from flowtape.stream.loading import load_strategy

    if name is None:
        if settings:
            raise InputError("--set needs --strategy")
        return None
    return load_strategy(name, settings or [])


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the figures of a session for people; `metrics` is what `metrics.json` holds."""
    for key in ("strategy", "fill_count", "round_trips", "net_pnl", "fees", "final_equity"):
        value = metrics[key]
        text = f"{value:,}" if isinstance(value, int) else value
        if key == "net_pnl":
            low, high = sorted(
                (metrics["net_pnl_optimistic"], metrics["net_pnl_pessimistic"]), key=float
            )
            text = f"{text}  ({low} to {high} by optimistic and pessimistic fills)"
        typer.echo(f"{key.replace('_count', 's').replace('_', ' '):<14}{text}")
    if "liquidation_and_funding" in metrics:
        typer.echo(f"liquidation and funding {metrics['liquidation_and_funding']}")
    for key in ("total_return", "max_drawdown", "win_rate"):
        value = metrics[key]
        text = "-" if value is None else f"{value:.4%}"
        typer.echo(f"{key.replace('_', ' '):<14}{text}")


def open_tape(
    ref: str, tapes: Path, start_us: int | None = None, end_us: int | None = None
) -> "Tape":
    """Open a tape by symbol, by path, or by the folder of a session, whose trades are meant then.

    `demo` is the tape that ships with flowtape.
    """
    from flowtape.replay.tapes import TapeStore

    folder = Path(ref)
    if ref == "demo" and not folder.exists():
        from flowtape.replay.demo_tape import DEMO_SYMBOL, demo_store

        return demo_store().open(DEMO_SYMBOL, start_us, end_us)
    if (folder / "genesis.json").is_file():
        from flowtape.replay.session_tape import tape_store_of
        from flowtape.stream.session import Session

        session = Session.open(folder)
        if session.genesis.tapes:
            names = ", ".join(session.places)
            raise InputError(f"{folder} is a session over {names}; name that instead")
        store = tape_store_of(session)
        return store.open(store.only(), start_us, end_us)
    if folder.is_dir():
        symbols = sorted(folder.glob("venue=*/market=*/symbol=*"))
        if len(symbols) == 1:
            return TapeStore(folder).open(symbols[0], start_us, end_us)
    return TapeStore(tapes).open(ref, start_us, end_us)


@contextlib.contextmanager
def progress(label: str, total: int, *, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """Give a function that takes how much is done; draws a bar when stderr is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


async def until_stopped(
    work: Awaitable[None] | None = None, finish: Callable[[], None] | None = None
) -> None:
    """Wait for SIGINT or SIGTERM, or until `work` is done.

    On a signal `finish` is called, which has `work` come to its end; without it, or when that takes
    too long, `work` is cancelled.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait())]
    if work is not None:
        tasks.append(asyncio.ensure_future(work))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set() and finish is not None and work is not None:
            finish()
            done, _ = await asyncio.wait(tasks[1:], timeout=_FINISH_S)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _has_screen() -> bool:
    """Whether a browser would open beside the terminal, not in it."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


async def show(
    feeds: "Sequence[Feed]",
    port: int,
    work: Awaitable[None] | None = None,
    finish: Callable[[], None] | None = None,
) -> None:
    """Serve a dashboard until a signal, or until `work` is done; see `until_stopped`."""
    from flowtape.dashboards.server import serve

    def tell(link: str) -> None:
        typer.echo(f"open {link}  (for one browser; the next link follows)")

    server = await serve(feeds, port=port, on_link=tell)
    typer.echo(f"flowtape is showing {', '.join(feed.look().instrument.symbol for feed in feeds)}")
    tell(server.url)
    typer.echo("stop with Ctrl-C")
    if sys.stdout.isatty() and _has_screen():
        await asyncio.to_thread(webbrowser.open, server.url)
    try:
        await until_stopped(work, finish)
    finally:
        await server.stop()
