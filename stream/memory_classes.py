"""Classes whose instances a strategy may remember: its own, and flowtape's.

Of an instance everything in its `__dict__` and its slots is kept. None of these functions runs code
of such a class.
"""

import contextlib
import sys
from collections.abc import Iterable
from enum import Enum, EnumType, Flag
from types import MemberDescriptorType
from typing import Any, cast

HOME = "."
"""Stands for the module that the strategy lives in: its file may lie elsewhere later."""

KEY_STEPS_MAX = 1_000
"""Parts of a key. Hashing takes as many steps, and each may go down by a C function's frame."""


def place_of(kind: type, home: type) -> tuple[str, str] | None:
    """Return module and name of a class that may be kept; None when it may not."""
    module = HOME if kind.__module__ == home.__module__ else kind.__module__
    try:
        return (
            (module, kind.__qualname__) if find(home, module, kind.__qualname__) is kind else None
        )
    except (LookupError, TypeError):
        return None


def find(home: type, module: str, name: str) -> type:
    """Return a class of a module that is loaded; raises LookupError or TypeError."""
    path = home.__module__ if module == HOME else module
    if (path, name) == (home.__module__, home.__qualname__):
        return home
    if module != HOME and not module.startswith("flowtape."):
        raise LookupError(f"{module[:40]} is no module of flowtape")
    found: object = sys.modules[path]
    for step in name.split("."):
        found = vars(found)[step]
    # A module's names may also stand for what it imported from elsewhere.
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (path, name):
        raise LookupError(f"{name[:40]} is no class of {path}")
    return found


def is_plain(kind: type) -> bool:
    """Tell whether instances are made by `object.__new__` and go without further ado."""
    make: object = kind.__new__
    return make is object.__new__ and not hasattr(kind, "__del__")


def is_named_tuple(kind: type) -> bool:
    """Tell whether a class is a NamedTuple."""
    fields = getattr(kind, "_fields", None)
    return issubclass(kind, tuple) and type(fields) is tuple and not hasattr(kind, "__del__")


def make_named_tuple(kind: Any, *values: object) -> object:
    """Make a NamedTuple; raises TypeError when it is none or has other fields."""
    if not is_named_tuple(kind) or len(values) != len(kind._fields):
        raise TypeError(f"{kind.__name__} has other fields")
    made: object = tuple.__new__(kind, values)
    return made


def attributes(value: object) -> tuple[dict[str, object], dict[str, object]]:
    """Return what is in the `__dict__` of an instance, and in its slots."""
    slots = {}
    for name, member in _slots(type(value)).items():
        with contextlib.suppress(AttributeError):
            slots[name] = member.__get__(value)
    return dict(_own(value)), slots


def set_attributes(value: object, own: list[str], slots: list[str], values: list[object]) -> None:
    """Set attributes past properties and `__setattr__`; raises an exception where it has none."""
    names = [*own, *slots]
    if len(set(names)) != len(names) or not all(type(name) is str for name in names):
        raise ValueError("an object has an attribute twice")
    of = dict(zip(names, values, strict=True))
    kept = _own(value)
    kept.update((name, of[name]) for name in own)
    if own and _own(value) is not kept:
        raise TypeError(f"a {type(value).__name__} has slots only")
    members = _slots(type(value))
    for name in slots:
        members[name].__set__(value, of[name])


def _own(value: object) -> dict[str, object]:
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    if type(own) is not dict:
        raise TypeError(f"{type(value).__name__} keeps its attributes elsewhere")
    return own


def _slots(kind: type) -> dict[str, MemberDescriptorType]:
    members: dict[str, MemberDescriptorType] = {}
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if type(member) is MemberDescriptorType and member.__objclass__ is base:
                members.setdefault(name, member)
    return members


def key_of(member: Enum) -> str | int:
    """Return what names a member of its class: its name, or the value of several flags."""
    kind: Any = type(member)
    name = member._name_
    # Several flags have no name, or one that is made up of theirs.
    if kind.__members__.get(name) is member:
        return name
    value = member._value_
    if type(value) is int and isinstance(member, Flag) and 0 <= value <= _all_flags(kind):
        return value
    raise TypeError(f"a {kind.__name__} of unknown flags")


def member_of(kind: type, key: object) -> Enum:
    """Return a member of an enumeration; raises an exception when there is none."""
    if type(kind) is not EnumType:
        raise TypeError(f"{kind.__name__} is no enumeration")
    members: Any = kind
    if isinstance(key, str):
        return cast(Enum, members.__members__[key])
    # Another `_missing_` would be code of the class.
    own = members._missing_.__func__ is not cast(Any, Flag._missing_).__func__
    if own or type(key) is not int or not 0 <= key <= _all_flags(kind):
        raise ValueError(f"{kind.__name__} has no such flags")
    several = members(key)
    if type(several) is not kind:
        raise ValueError(f"{kind.__name__} has no such flags")
    return cast(Enum, several)


def _all_flags(kind: Any) -> int:
    every = 0
    for member in kind.__members__.values():
        every |= member._value_
    return every


def check_keys(keys: Iterable[Any]) -> None:
    """Raise TypeError where a key or an element consists of more than 1,000 parts."""
    for key in keys:
        left, steps = [key], 0
        while left:
            part, steps = left.pop(), steps + 1
            if isinstance(part, tuple):
                left.extend(tuple.__iter__(part))
            elif is_plain(type(part)) and _has_own_hash(type(part)):
                left.extend(one for kept in attributes(part) for one in kept.values())
            if steps + len(left) > KEY_STEPS_MAX:
                raise TypeError(f"a key of more than {KEY_STEPS_MAX:,} parts")


def _has_own_hash(kind: type) -> bool:
    make_hash: object = kind.__hash__
    return make_hash is not object.__hash__
