"""Where a session stood and what its strategy remembered, kept so that it can go on from there.

<input>-<place>.json    a line of JSON and, behind it, the SHA-256 of the session's id and that line

The kernel's state and the ledger are not in it: they follow from inputs and commands, many millions
of them in a second. A strategy is slower than that, and this saves running it again.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from flowtape.stream.memory import NotPlainError, remember
from flowtape.stream.strategy import Strategy

FIRST_S, EVERY_S = 0.1, 1.0
COST_MAX = 0.02
"""Share of the time that keeping checkpoints may take."""

KEPT = 3

_NAME = re.compile(r"\d{12}-\d{6}\.json")


@dataclass(frozen=True, slots=True)
class Standing:
    """A place between two inputs of a session.

    Attributes:
        input: the last input.
        place: commands behind it.
        command_count: commands up to here, orders of one call counted one by one.
        fills_seen: own fills told to the strategy.
        bubbles_told: bubbles of each instrument told to it.
        memory: what the strategy remembers; None when it is not plain, or there is none.
    """

    input: int
    place: int
    command_count: int
    fills_seen: int
    bubbles_told: tuple[int, ...]
    memory: str | None = None


class Standings(Protocol):
    """An engine, as far as checkpoints need it."""

    @property
    def strategy(self) -> Strategy | None:
        """Its strategy."""
        ...

    def standing(self) -> Standing:
        """Return where it stands, without the strategy's memory."""
        ...


class CheckpointKeeper:
    """Keeps the newest checkpoints of a session in a folder, about one a second."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now_s = now_s
        self._next_s = now_s() + FIRST_S
        self._not_plain = False

    def offer(self, engine: Standings) -> None:
        """Keep where an engine stands between two inputs, if it is time to."""
        began_s = self._now_s()
        if began_s < self._next_s:
            return
        self.keep(engine)
        cost_s = self._now_s() - began_s
        self._next_s = began_s + max(EVERY_S, cost_s / COST_MAX)

    def keep(self, engine: Standings) -> None:
        """Keep where an engine stands now."""
        plain = asdict(engine.standing())
        if engine.strategy is not None and not self._not_plain:
            try:
                plain["memory"] = remember(engine.strategy).decode()
            except NotPlainError:
                # Such a strategy is run again from its start.
                self._not_plain = True
        line = json.dumps(plain)
        path = _path(self._folder, plain["input"], plain["place"])
        staging = path.with_suffix(".tmp")
        # Where this fails the journals soon say why; without it resuming only takes longer.
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            staging.write_text(f"{line}\n{_digest(self._folder, line)}\n")
            staging.replace(path)
            for old in _paths(self._folder)[:-KEPT]:
                old.unlink(missing_ok=True)


def newest_checkpoint(
    folder: Path, input_count: int | None, command_count: int, markets: int
) -> Standing | None:
    """Return the newest checkpoint of a session that has so many inputs, commands, instruments.

    One that was torn, is another session's, or that a loss of power left ahead of the journals, is
    passed over. Without `input_count` any input will do.
    """
    for path in reversed(_paths(folder)):
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            line, digest = path.read_text(encoding="utf-8").splitlines()
            if _digest(folder, line) != digest:
                continue
            plain = json.loads(line)
            standing = Standing(**{**plain, "bubbles_told": tuple(plain["bubbles_told"])})
            ahead = input_count is not None and standing.input > input_count
            if (
                _is_sound(standing, markets)
                and path == _path(folder, standing.input, standing.place)
                and not ahead
                and standing.command_count <= command_count
            ):
                return standing
    return None


def forget_behind(folder: Path, standing: Standing | None) -> None:
    """Delete checkpoints behind one: what follows from here on is not what they are of."""
    last = _path(folder, standing.input, standing.place) if standing else folder
    for path in _paths(folder):
        if path > last:
            path.unlink(missing_ok=True)


def _digest(folder: Path, line: str) -> str:
    return hashlib.sha256(f"{folder.parent.name}\n{line}".encode()).hexdigest()


def _is_sound(standing: Standing, markets: int) -> bool:
    numbers = (standing.input, standing.place, standing.command_count, standing.fills_seen)
    return (
        all(type(one) is int and one >= 0 for one in (*numbers, *standing.bubbles_told))
        and len(standing.bubbles_told) == markets
        and (standing.memory is None or type(standing.memory) is str)
    )


def _path(folder: Path, at_input: int, place: int) -> Path:
    return folder / f"{at_input:012d}-{place:06d}.json"


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
