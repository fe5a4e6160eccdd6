"""Reads what a strategy remembered; the bytes may come from anyone.

Classes are found only where the given strategy lives and in modules of flowtape that are loaded
already; their instances are made without `__init__`, and attributes are set past any property. Of
those classes nothing runs but the `__hash__` and `__eq__` of what is a key or an element.
"""

import json
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Sized
from typing import Any, cast

import numpy as np

from flowtape.stream import memory_classes as classes
from flowtape.stream.errors import FlowError
from flowtape.stream.memory_values import READERS
from flowtape.stream.strategy import Strategy

VERSION = 1

CHAIN_MAX = 64
"""Deques right within one another: Python frees them by recursion, and would crash."""

_INT_MAX = 2**53
_TEXT_MAX = 64
_SURROGATES = re.compile("[\ud800-\udfff]")

FACTORIES = {kind.__name__: kind for kind in (list, int, float, dict, set, str)}
DICTS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (dict, OrderedDict, Counter, defaultdict)
}
ROWS: dict[str, type[Any]] = {kind.__name__: kind for kind in (list, tuple, set, frozenset, deque)}

_HASHED = {*DICTS, "set"}
_CHAINED = {"deque", "defaultdict"}
_HEADS = {"deque": 2, "defaultdict": 2, "object": 3}
"""How much of a node comes before its parts, if it is more than its kind."""

_MISSING: Any = object()


class MemoryDamagedError(FlowError):
    """Bytes are not what `remember` gave for a strategy of this class."""


class Reader:
    """Makes all that can be filled later first, then fills it, in the order of the nodes."""

    def __init__(self, data: bytes, home: type[Strategy]) -> None:
        told = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        if type(told) is not dict or set(told) != {"nodes", "version"}:
            raise MemoryDamagedError("this is not what a strategy remembered")
        if told["version"] != VERSION:
            raise MemoryDamagedError(
                f"what a strategy remembered has format {told['version']!r:.20}, this flowtape "
                f"reads {VERSION}"
            )
        self._home = home
        self._nodes: list[list[Any]] = told["nodes"]
        if not chains_are_short(self._nodes):
            raise MemoryDamagedError("a strategy's memory cannot be read: its deques are too deep")
        self._made: list[Any] = [_MISSING] * len(self._nodes)

    def strategy(self) -> Strategy:
        """Return what was remembered; raises some exception when that is damaged."""
        for number, (kind, *rest) in enumerate(self._nodes):
            if kind in READERS:
                self._made[number] = READERS[kind](*rest)
            elif kind == "class":
                self._made[number] = classes.find(self._home, *rest)
        for number, (kind, *rest) in enumerate(self._nodes):
            if self._made[number] is _MISSING:
                self._made[number] = self._shell(kind, rest)
        self._fill()
        strategy: Strategy = self._made[-1]
        if type(strategy) is not self._home:
            raise MemoryDamagedError(f"this is not what a {self._home.__name__} remembered")
        return strategy

    def _shell(self, kind: str, rest: list[Any]) -> object:
        """Make what is filled later; _MISSING for what is made of its parts at once."""
        if kind == "object":
            cls = self._value(rest[2])
            if not (isinstance(cls, type) and classes.is_plain(cls)):
                raise ValueError("an object's class is none")
            return object.__new__(cls)
        if kind == "deque":
            return deque(maxlen=rest[0])
        if kind == "defaultdict":
            return defaultdict(None if rest[0] is None else FACTORIES[rest[0]])
        if kind in _MADE_AT_ONCE:
            return _MISSING
        return (DICTS.get(kind) or ROWS[kind])()

    def _fill(self) -> None:
        left: list[int] = []
        late: list[int] = []
        for number, (kind, *_) in enumerate(self._nodes):
            if kind in READERS or kind == "class":
                continue
            try:
                done = self._finish(number)
            except Exception:
                # A key may still lack the attributes that its hash is made of.
                done = False
            if not done:
                (left if self._made[number] is _MISSING else late).append(number)
        self._make(left)
        # Keys come last: all that their hashes may be made of is there.
        for number in sorted(late, key=lambda number: self._nodes[number][0] in _HASHED):
            self._finish(number)
        if any(made is _MISSING for made in self._made):
            raise ValueError("an object is made of itself")

    def _make(self, left: list[int]) -> None:
        """Make objects that are made of their parts at once, each behind its parts."""
        users: dict[int, list[int]] = {number: [] for number in left}
        lacking = dict.fromkeys(left, 0)
        for number in left:
            for slot in self._slots(number):
                if type(slot) is list and slot[0] in users:
                    users[slot[0]].append(number)
                    lacking[number] += 1
        ready = [number for number in left if not lacking[number]]
        for number in ready:
            self._finish(number)
            for user in users[number]:
                lacking[user] -= 1
                if not lacking[user]:
                    ready.append(user)

    def _finish(self, number: int) -> bool:
        """Fill or make an object; tells whether all that it needs is there."""
        kind, made = self._nodes[number][0], self._made[number]
        parts = [self._value(slot) for slot in self._slots(number)]
        if any(part is _MISSING for part in parts):
            return False
        if kind in _MADE_AT_ONCE:
            self._made[number] = _MADE_AT_ONCE[kind](*parts)
        elif kind == "object":
            _, own, slots = self._nodes[number][:3]
            classes.set_attributes(made, own, slots, parts[1:])
        elif kind in _HASHED:
            made.clear()
            keys = parts if kind == "set" else parts[::2]
            classes.check_keys(keys)
            if kind == "set":
                made.update(keys)
            else:
                for key, value in zip(keys, parts[1::2], strict=True):
                    made[key] = value
            _check_count(made, keys)
        else:
            made.extend(parts)
            _check_count(made, parts)
        return True

    def _slots(self, number: int) -> list[Any]:
        node = self._nodes[number]
        return node[_HEADS.get(node[0], 1) :]

    def _value(self, slot: Any) -> Any:
        if type(slot) is list:
            (number,) = slot
            if type(number) is not int or number < 0:
                raise ValueError(f"{number!r:.40} is no node")
            return self._made[number]
        if not stands_for_itself(slot):
            raise ValueError(f"{slot!r:.40} is no value")
        return slot


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no number")


def _frozenset(*parts: Any) -> frozenset[Any]:
    classes.check_keys(parts)
    made = frozenset(parts)
    _check_count(made, parts)
    return made


def _generator(bits: object) -> np.random.Generator:
    if not isinstance(bits, np.random.BitGenerator):
        raise TypeError("a generator has no bits")
    return np.random.Generator(bits)


def _check_count(made: Sized, parts: Sized) -> None:
    if len(made) != len(parts):
        raise ValueError("a collection has fewer elements than were written")


def chains_are_short(nodes: list[list[Any]]) -> bool:
    """Tell whether deques right within one another are few enough to be freed."""
    depths: dict[int, int] = {}
    upward = 0
    for number, node in enumerate(nodes):
        if node[0] in _CHAINED:
            inner = [slot[0] for slot in node[2:] if type(slot) is list]
            upward += sum(one >= number and nodes[one][0] in _CHAINED for one in inner)
            depths[number] = 1 + max((depths.get(one, 0) for one in inner), default=0)
            if depths[number] > CHAIN_MAX or upward > CHAIN_MAX:
                return False
    return True


def stands_for_itself(value: object) -> bool:
    """Tell whether a value is written as it is, not as a node."""
    kind = type(value)
    if kind is int:
        return -_INT_MAX <= cast(int, value) <= _INT_MAX
    if kind is float:
        return math.isfinite(cast(float, value))
    if kind is str:
        # Lone surrogates side by side would be read as one character.
        text = cast(str, value)
        return len(text) <= _TEXT_MAX and (text.isascii() or not _SURROGATES.search(text))
    return value is None or kind is bool


_MADE_AT_ONCE: dict[str, Callable[..., object]] = {
    "tuple": lambda *parts: parts,
    "frozenset": _frozenset,
    "namedtuple": classes.make_named_tuple,
    "enum": classes.member_of,
    "generator": _generator,
}
