"""Graphs of values, and whether two of them are alike: equal, and shared in the same places."""

import math
import random
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC
from typing import Any

import numpy as np
from hypothesis import strategies as st

_ROWS = (list, tuple, deque)


def alike(one: object, other: object) -> bool:
    """Tell whether two graphs have the same values of the same types, shared in the same places."""
    left, pairs, back = [(one, other)], dict[int, int](), dict[int, int]()
    keep: list[object] = []
    while left:
        a, b = left.pop()
        if type(a) is not type(b):
            return False
        if _parts(a) is None:
            if not _equal(a, b):
                return False
            continue
        if id(a) in pairs or id(b) in back:
            if pairs.get(id(a)) != id(b) or back.get(id(b)) != id(a):
                return False
            continue
        if a != ():
            pairs[id(a)], back[id(b)] = id(b), id(a)
        keep += [a, b]
        of_a, of_b = _parts(a), _parts(b)
        assert of_a is not None
        assert of_b is not None
        if len(of_a) != len(of_b):
            return False
        left += zip(of_a, of_b, strict=True)
    return True


def _parts(value: Any) -> list[Any] | None:
    """What an object consists of; None where it can be compared as it is."""
    if isinstance(value, deque):
        return [value.maxlen, *value]
    if isinstance(value, _ROWS):
        return list(value)
    if isinstance(value, dict):
        return [getattr(value, "default_factory", None), *value, *value.values()]
    if isinstance(value, bytearray):
        return [bytes(value)]
    return _attributes(value)


def _attributes(value: Any) -> list[Any] | None:
    if isinstance(value, np.ndarray | np.generic | random.Random | type) or value is None:
        return None
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    if not slots and not hasattr(value, "__dict__"):
        return None
    own = vars(value) if hasattr(value, "__dict__") else {}
    names = [name for name in [*own, *slots] if hasattr(value, name)]
    return [one for name in names for one in (name, getattr(value, name))]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float):
        return repr(a) == repr(b) and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, np.ndarray | np.generic):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, random.Random):
        return a.getstate() == b.getstate()
    if isinstance(a, int):
        return bool(a == b)
    # What is not equal to itself is like what is written like it.
    return repr(a) == repr(b)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.floats(),
    st.text(max_size=80),
    st.text(st.characters(categories=["Cs"]), max_size=4),
    st.binary(max_size=9),
    st.binary(max_size=3).map(bytearray),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.timedeltas(),
    st.fractions(),
    st.lists(st.integers(-9, 9), max_size=4).map(np.array),
    st.integers(0, 9).map(np.int16),
)
KEYS = st.one_of(st.integers(), st.text(max_size=5), st.tuples(st.integers(), st.binary()))


@st.composite
def graphs(draw: st.DrawFn) -> object:
    """Draw a value that is made of others, of which some are shared and some lead back."""
    made: list[Any] = [draw(LEAVES) for _ in range(draw(st.integers(1, 5)))]
    for _ in range(draw(st.integers(1, 15))):
        some = [made[i] for i in draw(st.lists(st.integers(0, len(made) - 1), max_size=4))]
        kind = draw(st.sampled_from([list, tuple, deque, dict, OrderedDict, defaultdict, Counter]))
        if issubclass(kind, dict):
            keys = draw(st.lists(KEYS, min_size=len(some), max_size=len(some), unique=True))
            pairs = zip(keys, some, strict=True)
            one: Any = defaultdict(list, pairs) if kind is defaultdict else kind(dict(pairs))
        else:
            one = kind(some)
        made.append(one)
    for _ in range(draw(st.integers(0, 4))):
        one, other = (made[draw(st.integers(0, len(made) - 1))] for _ in range(2))
        if isinstance(one, list | deque):
            one.append(other)
        elif isinstance(one, dict):
            one[draw(KEYS)] = other
    return made[-1]
