"""What a strategy remembers, as bytes that are safe to read back.

The bytes are JSON: `{"nodes": [...], "version": 1}`. Each node is one object, `[kind, ...]`; the
last is the strategy. None, truth values, short texts, and ordinary whole numbers and floats stand
for themselves; `[n]` refers to node n. So what two attributes share stays shared, and an object may
lead back to itself. Dicts keep their order. Sets are written as they iterate and put together again
in that order, after which they may iterate in another one.

Reading runs no code that the bytes name: see `memory_reader`.
"""

import json
import reprlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from flowtape.stream import memory_classes as classes
from flowtape.stream.errors import FlowError
from flowtape.stream.memory_reader import (
    CHAIN_MAX,
    DICTS,
    FACTORIES,
    ROWS,
    VERSION,
    MemoryDamagedError,
    Reader,
    chains_are_short,
    stands_for_itself,
)
from flowtape.stream.memory_values import writer_of
from flowtape.stream.strategy import Strategy

__all__ = ["MemoryDamagedError", "NotPlainError", "recall", "remember"]

_PATH_MAX = 200


class NotPlainError(FlowError):
    """A strategy keeps something that is no plain value."""


def remember(strategy: Strategy) -> bytes:
    """Return the whole state of a strategy; raises NotPlainError naming what cannot be kept."""
    return _Writer(strategy).written()


def recall(data: bytes, strategy: Strategy) -> Strategy:
    """Return a new strategy of the class of `strategy`, as it was when `data` was made.

    Raises MemoryDamagedError, and nothing else, for bytes that are not `remember`'s. Time and
    memory are bounded by the size of `data`.
    """
    try:
        return Reader(data, type(strategy)).strategy()
    except MemoryDamagedError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}"[:200].split())
        raise MemoryDamagedError(f"a strategy's memory cannot be read: {said}") from None


@dataclass(frozen=True, slots=True)
class _Apart:
    """An object taken apart: what its node begins with, and the objects that it refers to."""

    head: list[object]
    parts: list[Any]
    name_of: Callable[[int], str] = "[{}]".format
    """What a part is called, by its place."""


class _Writer:
    """Walks the graph without recursion; a node stands behind those it refers to where it can."""

    def __init__(self, strategy: Strategy) -> None:
        self._home = type(strategy)
        self._found: dict[int, int] = {}
        self._objects: list[object] = []
        self._parents: list[tuple[int, int]] = []
        self._aparts: list[_Apart] = []
        self._walk: list[tuple[int, Iterator[tuple[int, object]]]] = []
        self._enter(strategy, (-1, 0))

    def written(self) -> bytes:
        numbers = {at: number for number, at in enumerate(self._order())}
        nodes = [
            [*apart.head, *(self._slot(part, numbers) for part in apart.parts)]
            for apart in (self._aparts[at] for at in numbers)
        ]
        if not chains_are_short(nodes):
            raise NotPlainError(
                f"self: deques right within one another, over {CHAIN_MAX} of them, "
                "cannot be kept; put lists between"
            )
        told = {"nodes": nodes, "version": VERSION}
        return json.dumps(told, separators=(",", ":"), allow_nan=False).encode("ascii")

    def _order(self) -> Iterator[int]:
        while self._walk:
            at, parts = self._walk[-1]
            for place, part in parts:
                if not stands_for_itself(part) and id(part) not in self._found:
                    self._enter(part, (at, place))
                    break
            else:
                yield at
                self._walk.pop()

    def _enter(self, value: object, parent: tuple[int, int]) -> None:
        at = len(self._objects)
        self._found[id(value)] = at
        self._objects.append(value)
        self._parents.append(parent)
        try:
            apart = _apart(value, self._home)
        except TypeError as error:
            raise NotPlainError(
                f"{self._path(at)}: {error} cannot be kept; keep plain values"
            ) from None
        self._aparts.append(apart)
        self._walk.append((at, iter(enumerate(apart.parts))))

    def _slot(self, part: object, numbers: dict[int, int]) -> object:
        return part if stands_for_itself(part) else [numbers[self._found[id(part)]]]

    def _path(self, at: int) -> str:
        steps = []
        while (parent := self._parents[at])[0] >= 0:
            at, place = parent
            steps.append(self._aparts[at].name_of(place))
        path = "self" + "".join(reversed(steps))
        return (
            path
            if len(path) <= _PATH_MAX
            else f"{path[: _PATH_MAX // 2]}...{path[-_PATH_MAX // 2 :]}"
        )


def _apart(value: Any, home: type) -> _Apart:
    """Take an object apart; raises TypeError with words for what cannot be kept."""
    kind = type(value)
    leaf = writer_of(value)
    if leaf is not None:
        return _Apart([leaf[0], *leaf[1](value)], [])
    if kind in ROWS.values() or kind in DICTS.values():
        return _collection_apart(value, kind)
    if kind is np.random.Generator:
        return _Apart(["generator"], [value.bit_generator], lambda _: ".bit_generator")
    if isinstance(value, type):
        if place := classes.place_of(value, home):
            return _Apart(["class", *place], [])
        raise TypeError(f"the class {value.__name__}")
    if not classes.place_of(kind, home):
        raise TypeError(_name(value))
    return _instance_apart(value, kind)


def _collection_apart(value: Any, kind: type) -> _Apart:
    head: list[object] = [kind.__name__]
    parts = list(value)
    if kind not in (list, tuple, deque):
        classes.check_keys(parts)
    if kind is deque:
        head.append(value.maxlen)
    if kind is defaultdict:
        factory = value.default_factory
        if factory is not None and factory not in FACTORIES.values():
            raise TypeError(f"a defaultdict of {_name(factory)}")
        head.append(factory and factory.__name__)
    if kind in ROWS.values():
        return _Apart(head, parts)
    return _Apart(head, [one for pair in value.items() for one in pair], _named_by(value))


def _instance_apart(value: Any, kind: Any) -> _Apart:
    if isinstance(value, Enum):
        return _Apart(["enum"], [kind, classes.key_of(value)])
    own, slots = classes.attributes(value)
    if classes.is_named_tuple(kind) and not own:
        parts = [kind, *tuple.__iter__(value)]
        return _Apart(["namedtuple"], parts, lambda place: f".{kind._fields[place - 1]}")
    if not classes.is_plain(kind) or not all(type(name) is str for name in own):
        raise TypeError(_name(value))
    names = [*own, *slots]
    parts = [kind, *own.values(), *slots.values()]
    return _Apart(["object", [*own], [*slots]], parts, lambda place: f".{names[place - 1]}")


def _named_by(value: dict[object, object]) -> Callable[[int], str]:
    def name_of(place: int) -> str:
        if place % 2 == 0:
            return f".keys()[{place // 2}]"
        return f"[{reprlib.repr(list(value)[place // 2])}]"

    return name_of


def _name(value: object) -> str:
    name = getattr(value, "__qualname__", "") if callable(value) else ""
    kind = type(value).__name__
    said = f"{kind} {name}".strip()
    return f"{'an' if said[0].lower() in 'aeiou' else 'a'} {said}"
