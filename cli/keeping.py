"""Keeping the sessions that commands run, and taking up those that were left."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flowtape.cli import common
from flowtape.stream.errors import FlowError, InputError

if TYPE_CHECKING:
    from flowtape.replay.session_rows import OpenTape
    from flowtape.replay.tapes import Tape
    from flowtape.stream.config import EngineConfig
    from flowtape.stream.engine import Engine
    from flowtape.stream.genesis import Genesis
    from flowtape.stream.journal import SyncPolicy
    from flowtape.stream.session import Session, SessionWriter
    from flowtape.stream.strategy import Strategy


@dataclass(frozen=True, slots=True)
class TapeInputs:
    """Tapes, what they were asked for by, and the times asked of them."""

    refs: list[str]
    tapes: "list[Tape]"
    start_us: int | None
    end_us: int | None

    def genesis(
        self, config: "EngineConfig", strategy: "Strategy | None", name: str | None
    ) -> "Genesis":
        """Return the genesis of a session over the tapes."""
        from flowtape.replay.sessions import Range, genesis_of

        ranges = [Range(tape, self.start_us, self.end_us) for tape in self.tapes]
        return genesis_of(ranges, config, strategy, name)

    @property
    def places(self) -> list[str]:
        """What the tapes are found by from anywhere."""
        return [str(Path(ref).absolute()) if Path(ref).exists() else ref for ref in self.refs]


@contextlib.contextmanager
def kept(
    genesis: "Genesis",
    root: Path,
    *,
    label: str = "",
    places: "list[str] | None" = None,
    retain: str | None = None,
    sync: "SyncPolicy" = "1s",
) -> "Iterator[SessionWriter]":
    """Keep a session below a folder; its journals are sealed however it ends."""
    from flowtape.stream.session import SessionWriter

    if retain is not None:
        _make_room(root, retain)
    writer = SessionWriter.create(
        root, genesis, datetime.now(UTC), label=label, places=places or (), sync=sync
    )
    with sealed(writer):
        yield writer


def _make_room(root: Path, retain: str) -> None:
    from flowtape.replay.housekeeping import parse_retention
    from flowtape.replay.housekeeping import retain as keep_within
    from flowtape.replay.session_store import SessionStore

    limits = parse_retention(retain, "--retain")
    try:
        gone = keep_within(SessionStore(root), limits, datetime.now(UTC))
    except FlowError as error:
        typer.echo(f"flowtape: {error}", err=True)
        return
    for one in gone:
        typer.echo(f"deleted session {one.id}, as --retain {retain} asks", err=True)


@contextlib.contextmanager
def sealed(writer: "SessionWriter") -> "Iterator[None]":
    """Seal a session's journals when the block is left, whatever the reason."""
    try:
        yield
    except BaseException:
        # What broke the block off is what people should read, not that the disk is still full.
        with contextlib.suppress(Exception):
            writer.close()
        raise
    writer.close()


def finish(writer: "SessionWriter", engine: "Engine") -> str:
    """Say what became of a session; returns lines for people."""
    from flowtape.replay.summary import summary_of

    name = writer.folder.name
    if not engine.ended:
        writer.close()
        again = writer.genesis.tapes or writer.genesis.parent
        command = f"replay {name}" if again else f"live {engine.instrument.symbol}"
        return f"session {name} is kept as far as it went; go on with: flowtape {command} --resume"
    summary = summary_of(engine, writer.chain.value)
    writer.finish(summary)
    return f"session {name} digest {summary.digest}\ncheck it with: flowtape verify {name}"


def opener(tapes: Path | None, home: Path | None) -> "OpenTape":
    """Return what opens a session's tapes by what a person called them."""
    root = common.tapes_dir(tapes, home)

    def open_tape(place: str, from_us: int | None, to_us: int | None) -> "Tape":
        return common.open_tape(place, root, from_us, to_us)

    return open_tape


def strategy_of(session: "Session", name: str | None) -> "Strategy | None":
    """Make the strategy of a session anew, from where it lies now if that is named.

    None when the session has none; a name is an error then.
    """
    from flowtape.stream.genesis import StrategyIdentity

    identity = session.genesis.strategy
    if identity is None:
        if name is not None:
            raise InputError(f"session {session.id} ran no strategy; leave --strategy out")
        return None
    settings = [f"{key}={value}" for key, value in identity.parameters.items()]
    bundled = sorted((session.folder / "strategy").glob("*.py"))
    if name is None and bundled:
        name = f"{bundled[0]}:{identity.name.rpartition(':')[2]}"
        typer.echo(f"running the strategy that came with the session: {bundled[0].name}", err=True)
    chosen = common.strategy_named(name or identity.name, settings)
    assert chosen is not None
    if StrategyIdentity.of(chosen).sha256 != identity.sha256:
        typer.echo("the strategy's file has changed since the session was made", err=True)
    return chosen


def refuse_settings(context: typer.Context, allowed: set[str]) -> None:
    """Raise InputError for an option that a session has from its genesis."""
    given: Any
    for name in context.params:
        given = context.get_parameter_source(name)
        if name not in allowed and given is not None and given.name == "COMMANDLINE":
            option = "--" + name.strip("_").replace("_", "-")
            raise InputError(f"a session has its own settings; leave {option} out")


def digest_words(session: "Session", digest: bytes) -> str:
    """Say what a session came to that was run again, and whether it is the same."""
    if session.summary is None:
        words = "as far as it was kept"
    elif session.summary.digest == digest.hex():
        words = "the same as when it was kept"
    else:
        words = "not what it was; see: flowtape verify"
    return f"session {session.id} digest {digest.hex()}: {words}"
