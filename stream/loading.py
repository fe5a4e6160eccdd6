"""Strategies by name: `package.module:Class` or `path/file.py:Class`, with typed parameters."""

import dataclasses
import importlib
import importlib.util
import math
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from flowtape.stream.errors import InputError
from flowtape.stream.strategy import Strategy

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def load_strategy(name: str, settings: Iterable[str] = ()) -> Strategy:
    """Return a strategy made from its name and `key=value` settings.

    Values are converted to the type of the dataclass field they name. Raises InputError naming what
    cannot be found, imported or converted.
    """
    module_name, colon, class_name = name.rpartition(":")
    if not colon or not module_name or not class_name:
        raise InputError(
            f"{name!r} is no strategy; write package.module:Class or path/file.py:Class"
        )
    module = _load_module(module_name)
    found = getattr(module, class_name, None)
    if found is None:
        raise InputError(f"{module_name} has no {class_name}; it has {_strategies_of(module)}")
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise InputError(f"{name} is not a subclass of flowtape.stream.strategy.Strategy")
    try:
        return found(**_parameters(found, settings))
    except TypeError as error:
        raise InputError(f"{name} cannot be made: {error}") from None


def parameters_of(strategy: Strategy) -> dict[str, object]:
    """Return the public parameters of a strategy, for reports."""
    if not dataclasses.is_dataclass(strategy):
        return {}
    return {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy) if f.init}


def _load_module(name: str) -> ModuleType:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        path = Path(name)
        if not path.is_file():
            raise InputError(f"there is no file {name}")
        spec = importlib.util.spec_from_file_location(f"flowtape_strategy_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise InputError(f"{name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up by name.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{name} cannot be imported: {said}") from error


def _strategies_of(module: ModuleType) -> str:
    names = [
        n
        for n, v in vars(module).items()
        if isinstance(v, type) and issubclass(v, Strategy) and v is not Strategy
    ]
    return ", ".join(names) or "no strategy at all"


def _parameters(strategy: type[Strategy], settings: Iterable[str]) -> dict[str, object]:
    given = [setting.partition("=") for setting in settings]
    if not dataclasses.is_dataclass(strategy):
        if given:
            raise InputError(f"{strategy.__name__} takes no parameters: it is not a dataclass")
        return {}
    types = typing.get_type_hints(strategy)
    known = [f.name for f in dataclasses.fields(strategy) if f.init]
    values: dict[str, object] = {}
    for key, equals, text in given:
        if not equals:
            raise InputError(f"--set takes key=value, was {key!r}")
        if key in values:
            raise InputError(f"--set gives {key} twice")
        if key not in known:
            raise InputError(
                f"{strategy.__name__} has no parameter {key!r}; it has {', '.join(known)}"
            )
        values[key] = _convert(key, text, types[key])
    return values


def _convert(key: str, text: str, kind: object) -> object:
    try:
        if kind is bool:
            if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
        elif kind in (int, float, str):
            value = typing.cast(type, kind)(text)
            if not isinstance(value, float) or math.isfinite(value):
                return typing.cast(object, value)
        else:
            raise InputError(f"parameter {key} is {kind}; --set knows int, float, str and bool")
    except ValueError:
        pass
    name = getattr(kind, "__name__", str(kind))
    raise InputError(f"parameter {key} must be {name}, was {text!r}")
