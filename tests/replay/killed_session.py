"""Lives of one session, each in a process that may be killed.

Run with `python -m tests.replay.killed_session`. Each line of the input is for one life, JSON of a
`Plan` and an `Order`: a fork that takes the session up where the last one left it and goes on with
it, until it is done or killed. What a life has to say are lines:

    born PID
    stands INPUT MICROSECONDS       behind this input, after so long
    acked ORDER_ID INPUT PLACE      a person's ticket was carried out, and the person was told
    done DIGEST                     the session has ended; the digest is its ledger's, or - when
                                    it had ended before

`over STATUS` follows. The dead are buried when the next order comes, so that until then nobody
else gets their number.
"""

import faulthandler
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flowtape.replay.resuming import resume
from flowtape.replay.sessions import Range, genesis_of, live_genesis
from flowtape.replay.summary import summary_of
from flowtape.replay.tapes import Tape, TapeStore
from flowtape.replay.track import Track
from flowtape.stream import journal_files
from flowtape.stream import session as session_module
from flowtape.stream.engine import Engine
from flowtape.stream.journal_files import OsFiles
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Market, Orders
from flowtape.stream.trades import Trades
from tests.replay.corpora import (
    INSTRUMENT,
    Asked,
    Corpus,
    Mixed,
    live_corpus,
    shrink_grids,
    tape_corpus,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Plan:
    """A market and the folder that its session and its tape lie in."""

    name: str
    trades_count: int
    seed: int
    root: str
    on_tape: bool = False

    def corpus(self) -> Corpus:
        live = live_corpus(self.name, self.trades_count, seed=self.seed)
        return tape_corpus(live) if self.on_tape else live

    def tape(self) -> Tape:
        return TapeStore(Path(self.root) / "tapes").open(INSTRUMENT.symbol)

    def session(self) -> Session | None:
        """Return the session, once there is one."""
        for path in (Path(self.root) / "sessions").glob("*/genesis.json"):
            return Session.open(path.parent)
        return None


@dataclass(frozen=True)
class Order:
    """How one life is to be.

    It ends at the `at`-th visit of `point`: before, in the middle of, or behind what is done there.
    """

    sizes: tuple[int, ...] = (64,)
    seed: int = 0
    point: str = ""
    at: int = 0
    how: str = "before"

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Order":
        return cls(**{**plain, "sizes": tuple(plain["sizes"])})


def line_of(plan: Plan, order: Order) -> bytes:
    """Return what asks for a life."""
    return json.dumps([asdict(plan), asdict(order)]).encode() + b"\n"


FILE_CALLS = (
    *("create", "append", "write", "sync", "truncate", "rename", "remove"),
    *("make_folder", "sync_folder"),
)
POINTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "create": (4, ("before", "after")),
    "append": (3, ("before", "after")),
    "write": (250, ("before", "middle", "after")),
    "sync": (40, ("before", "after")),
    "truncate": (2, ("before", "after")),
    "rename": (6, ("before", "after")),
    "remove": (2, ("before", "after")),
    "make_folder": (4, ("before", "after")),
    "sync_folder": (10, ("before", "after")),
    "checkpoint": (5, ("before", "middle", "after")),
    "replace": (5, ("before", "after")),
    "unlink": (3, ("before", "after")),
    "whole": (2, ("before", "middle", "after")),
    "parquet": (2, ("before", "middle", "after")),
    "rmtree": (3, ("before", "middle", "after")),
    "decision": (80, ("before", "after")),
    "ahead": (100, ("after",)),
    "ask": (10, ("before", "after")),
}
"""Points at which a life may end, how often one is come by at most, and in what ways."""


class Doom:
    """Ends the process at a point."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._left = order.at

    def at(
        self,
        point: str,
        call: Callable[..., Any],
        *what: Any,
        middle: Callable[[], object] | None = None,
        **how: Any,
    ) -> Any:
        """Do something, unless that is where it ends."""
        order = self._order
        if point == order.point:
            self._left -= 1
        if point != order.point or self._left:
            return call(*what, **how)
        if order.how == "after":
            call(*what, **how)
        elif order.how == "middle" and middle is not None:
            middle()
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def around(self, owner: Any, name: str, point: str, middle: Any = None) -> None:
        """Have a function or method end at a point; `middle` does a part of what it does."""
        call = getattr(owner, name)

        def doomed(*what: Any, **how: Any) -> Any:
            part = None if middle is None else lambda: middle(call, *what, **how)
            return self.at(point, call, *what, middle=part, **how)

        setattr(owner, name, doomed)


class DoomedFiles(OsFiles):
    """What a journal does to its files, until the end."""

    def __init__(self, doom: Doom) -> None:
        for name in FILE_CALLS:
            doom.around(self, name, name, _half_a_write if name == "write" else None)


def _half_a_write(write: Callable[[int, Any], int], descriptor: int, data: Any) -> None:
    write(descriptor, data[: len(data) // 2])


def _half_a_text(write: Callable[[Path, str], int], path: Path, text: str) -> None:
    write(path, text[: len(text) // 2])


def _half_a_file(_: object, path: Path, text: str) -> None:
    path.with_name(f".{path.name}-{os.getpid()}").write_text(text[: len(text) // 2])


def _half_a_parquet(write: Callable[..., None], table: Any, path: Path, **how: Any) -> None:
    write(table, path, **how)
    os.truncate(path, path.stat().st_size // 2)


def _half_a_folder(_: object, path: Path, **__: object) -> None:
    for one in sorted(path.iterdir() if path.is_dir() else [])[:1]:
        one.unlink()


def _doom_everything(doom: Doom) -> None:
    """Have all that touches the disk without `OsFiles` end too, and what lies between writes."""
    doom.around(Path, "write_text", "checkpoint", _half_a_text)
    doom.around(Path, "replace", "replace")
    doom.around(Path, "unlink", "unlink")
    doom.around(session_module, "_write_whole", "whole", _half_a_file)
    doom.around(pq, "write_table", "parquet", _half_a_parquet)
    doom.around(shutil, "rmtree", "rmtree", _half_a_folder)
    doom.around(SessionWriter, "inputs", "ahead")
    decide = Mixed.on_decision

    def doomed(self: Mixed, market: Market, orders: Orders) -> None:
        doom.at("decision", decide, self, market, orders)

    Mixed.on_decision = doomed  # type: ignore[method-assign]


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Life:
    """One process's part of a session."""

    def __init__(self, plan: Plan, corpus: Corpus, order: Order) -> None:
        self.plan, self.corpus, self.order = plan, corpus, order
        self.doom = Doom(order)
        self.files = DoomedFiles(self.doom)
        _doom_everything(self.doom)

    def live(self) -> None:
        began_s = time.perf_counter()
        begun = self._begin()
        if begun is None:
            say("done -")
            return
        engine, writer = begun
        say("stands", engine.input, int((time.perf_counter() - began_s) * 1e6))
        self._go_on(engine)
        writer.finish(summary_of(engine, writer.chain.value))
        say("done", engine.digest())

    def _begin(self) -> tuple[Engine, SessionWriter] | None:
        session = self.plan.session()
        if session is not None and session.ended:
            return None
        if session is not None:
            resumed = resume(session, lambda *_: self.plan.tape(), Mixed(), files=self.files)
            assert resumed.notice == "", resumed.notice
            return resumed.engine, resumed.writer
        config = self.corpus.config
        if self.plan.on_tape:
            genesis = genesis_of([Range(self.plan.tape())], config, Mixed(), None)
        else:
            genesis = live_genesis(INSTRUMENT, config, Mixed(), None)
        root, places = Path(self.plan.root) / "sessions", ["the tape"] * self.plan.on_tape
        writer = SessionWriter.create(root, genesis, NOW, places=places, files=self.files)
        recorded = (writer.chain, writer)
        engine = Engine(
            genesis.instruments, genesis.config, Mixed(), shown=False, recorded=recorded
        )
        return engine, writer

    def _go_on(self, engine: Engine) -> None:
        if engine.ended:
            return
        track = Track(engine, self.plan.tape()) if self.plan.on_tape else None
        number, done_count = self.corpus.left_to_ask(engine)
        if done_count:
            asked = self.corpus.asked[number]
            self._ask(engine, asked, asked.rest_of(engine, done_count))
            number += 1
        sizes, seed = self.order.sizes, self.order.seed
        for step in self.corpus.steps(sizes, seed, engine.input, number):
            if isinstance(step, Asked):
                self._ask(engine, step, self.doom.at("ask", step.of, engine))
            elif track is None:
                engine.apply_event(step)
            else:
                assert isinstance(step, Trades)
                track.advance(track.row + len(step))
        if not engine.ended:
            engine.end()

    def _ask(self, engine: Engine, asked: Asked, order_id: int | None) -> None:
        # A flatten whose order is refused has canceled all before.
        canceled = order_id is None and asked.ticket.kind == "flatten"
        assert canceled or (order_id is None) == (asked.command_count == 0)
        if order_id is not None:
            say("acked", order_id, *engine.place)


def main() -> None:
    """Give one life after the other."""
    shrink_grids(pytest.MonkeyPatch())
    journal_files._SYNC_DELAY_S = 0.01
    corpora: dict[tuple[object, ...], Corpus] = {}
    for line in sys.stdin.buffer:
        given_plan, given_order = json.loads(line)
        plan, order = Plan(**given_plan), Order.of(given_order)
        key = (plan.name, plan.trades_count, plan.seed, plan.on_tape)
        if key not in corpora:
            corpora[key] = plan.corpus()
        child = os.fork()
        if not child:
            say("born", os.getpid())
            faulthandler.dump_traceback_later(100)
            try:
                Life(plan, corpora[key], order).live()
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        status = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert status is not None
        say("over", status.si_status)
        # Buried when whoever may want to kill it has heard of its death.
        sys.stdin.buffer.readline()
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
