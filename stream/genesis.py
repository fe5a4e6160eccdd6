"""What a session is made of, as canonical text: what its genesis hash stands for."""

import hashlib
import inspect
import json
import typing
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from flowtape._kernel import SEMANTICS_VERSION
from flowtape.stream import orderflow
from flowtape.stream.config import Decide, EngineConfig, MarketSettings
from flowtape.stream.errors import InputError
from flowtape.stream.execution import FeeTier, LaneRules, VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.loading import parameters_of
from flowtape.stream.strategy import Strategy

SCHEMA = 2
"""The format of new sessions; those of format 1 have no ids of inputs in their chain."""

_SETTINGS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(EngineConfig, MarketSettings, Decide, FeeTier, LaneRules, VenueRules, Instrument),
        *(
            kind
            for kind in vars(orderflow).values()
            if isinstance(kind, type)
            and is_dataclass(kind)
            and kind.__module__ == orderflow.__name__
        ),
    )
}


@dataclass(frozen=True, slots=True)
class StrategyIdentity:
    """Which strategy a session ran.

    Attributes:
        name: as it was asked for, `package.module:Class` or `path/file.py:Class`.
        sha256: of its source file.
        parameters: by name; whole numbers, floats, texts or truth values.
    """

    name: str
    sha256: str
    parameters: dict[str, object]

    @classmethod
    def of(cls, strategy: Strategy, name: str | None = None) -> "StrategyIdentity":
        """Return the identity of a strategy; raises InputError for parameters of other types."""
        kind = type(strategy)
        parameters = parameters_of(strategy)
        for key, value in parameters.items():
            if not isinstance(value, int | float | str | bool):
                raise InputError(
                    f"parameter {key} of {kind.__name__} is {type(value).__name__}; a session "
                    "that is kept needs int, float, str or bool"
                )
        path = cls.source_of(strategy)
        source = b"" if path is None else path.read_bytes()
        sha256 = hashlib.sha256(source).hexdigest()
        return cls(name or f"{kind.__module__}:{kind.__qualname__}", sha256, parameters)

    @staticmethod
    def source_of(strategy: Strategy) -> Path | None:
        """Return the file that a strategy was loaded from; None when there is none."""
        try:
            path = Path(inspect.getfile(type(strategy)))
        except (OSError, TypeError):
            return None
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class TapeRef:
    """A tape that gives a session's inputs: its content, not where it lies.

    Attributes:
        market: of the instrument.
        symbol: of the instrument.
        sha256: of the rows, as `replay.tapes.Tape` has it.
        row_count: rows.
        from_us: first time asked for; None: from the first row on.
        to_us: time asked to end before; None: to the last row.
    """

    market: str
    symbol: str
    sha256: str
    row_count: int
    from_us: int | None
    to_us: int | None


@dataclass(frozen=True, slots=True)
class Parent:
    """The session that another one branched from, and where.

    Attributes:
        id: of the parent.
        genesis_sha256: hex of its genesis' hash.
        input: the last input they have in common.
        place: the last command behind it that they have in common; 0: none.
        strategy_begins: the strategy is not the parent's going on, but begins there.
    """

    id: str
    genesis_sha256: str
    input: int
    place: int
    strategy_begins: bool = False


@dataclass(frozen=True, slots=True)
class Genesis:
    """Everything that is fixed before a session's first input.

    Without `tapes` the session keeps its inputs itself.
    """

    instruments: tuple[Instrument, ...]
    config: EngineConfig
    strategy: StrategyIdentity | None
    tapes: tuple[TapeRef, ...]
    parent: Parent | None = None
    semantics_version: int = SEMANTICS_VERSION
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Return it as canonical JSON: keys sorted, no spaces, one line."""
        return json.dumps(_plain(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def sha256(self) -> bytes:
        """The hash that begins the session's chain."""
        return hashlib.sha256(b"flowtape genesis 1" + self.to_json().encode()).digest()

    @classmethod
    def from_json(cls, text: str) -> "Genesis":
        """Return what canonical JSON says; raises InputError when it is none of ours."""
        try:
            plain = json.loads(text)
            if plain["schema"] not in range(1, SCHEMA + 1):
                raise InputError(
                    f"its format is number {plain['schema']}, this flowtape reads 1 to {SCHEMA}"
                )
            found = _made(plain, cls)
        except (KeyError, TypeError, ValueError) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"it is no genesis of a session ({said})") from None
        assert isinstance(found, cls)
        return found


_SETTINGS |= {kind.__name__: kind for kind in (StrategyIdentity, TapeRef, Parent, Genesis)}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {"is": type(value).__name__, **own}
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _made(plain: object, hint: object) -> object:
    """Make of JSON what `_plain` was given; `hint` is the type a field is declared as."""
    if isinstance(plain, dict) and "is" in plain:
        kind = _SETTINGS[plain["is"]]
        hints = typing.get_type_hints(kind)
        known = {f.name for f in fields(kind)}
        given = {name: value for name, value in plain.items() if name != "is"}
        if set(given) != known:
            raise ValueError(f"{kind.__name__} has other fields: {sorted(set(given) ^ known)}")
        return kind(**{name: _made(value, hints[name]) for name, value in given.items()})
    if isinstance(plain, list):
        return tuple(_made(one, None) for one in plain)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return hint(typing.cast("int", plain))
    return plain
