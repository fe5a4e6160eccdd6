"""Values without parts as lists of JSON, and back: numbers, texts, times, arrays, chance.

`WRITERS` and `READERS` are tables by exact type and by name. A writer raises TypeError with words
for people where a value of its type cannot be kept. A reader may be given anything: it raises some
exception, or returns a value whose size is bounded by that of what it was given; it looks nothing
up and runs nothing that it was given.
"""

import base64
import math
import random
import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POOL_WORDS_MAX = 1 << 8

_DTYPE = re.compile(
    r"[<>|](b1|[iu][1248]|f[248]|c8|c16|[SUV]\d{1,9}|[mM]8(\[\d{0,9}[a-zA-Zμ]{1,7}\])?)"
)
_DTYPE_DEPTH = 8
_HEX = re.compile(r"-?[0-9a-f]+")

_RANDOM_VERSION, _RANDOM_WORDS = 3, 624

# What each kind of bit generator consists of: path, type (None: Python's int), count, largest.
_HALF = ("has_uint32", None, 1, 1), ("uinteger", None, 1, 2**32 - 1)
_PCG = ("state.state", None, 1, 2**128 - 1), ("state.inc", None, 1, 2**128 - 1), *_HALF
_FIELDS: dict[str, tuple[tuple[str, Any, int, int], ...]] = {
    "PCG64": _PCG,
    "PCG64DXSM": _PCG,
    "MT19937": (("state.key", np.uint32, 624, 2**32 - 1), ("state.pos", None, 1, 624)),
    "Philox": (
        ("state.counter", np.uint64, 4, 2**64 - 1),
        ("state.key", np.uint64, 2, 2**64 - 1),
        ("buffer", np.uint64, 4, 2**64 - 1),
        ("buffer_pos", None, 1, 4),
        *_HALF,
    ),
    "SFC64": (("state.state", np.uint64, 4, 2**64 - 1), *_HALF),
}


def whole(value: object, least: int, most: int) -> int:
    """Return a whole number that lies in a range; raises ValueError for anything else."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.40} is no number from {least} to {most}")
    return value


def _hex(number: int) -> str:
    return format(number, "x")


def _number(text: str) -> int:
    if not _HEX.fullmatch(text) or _hex(int(text, 16)) != text:
        raise ValueError(f"{text[:40]!r} is no number")
    return int(text, 16)


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _write_datetime(when: datetime) -> list[object]:
    if when.tzinfo not in (None, UTC):
        raise TypeError("a time of another zone than UTC")
    parts = (when.year, when.month, when.day, when.hour, when.minute, when.second)
    return [*parts, when.microsecond, when.fold, when.tzinfo is UTC]


def _read_datetime(year: int, month: int, day: int, hour: int, minute: int, *rest: int) -> datetime:
    second, micro, fold, utc = rest
    zone = UTC if utc is True else None
    return datetime(year, month, day, hour, minute, second, micro, zone, fold=fold)


def _write_zone(zone: object) -> list[object]:
    if zone is not UTC:
        raise TypeError("a time zone other than UTC")
    return []


def _read_decimal(text: str) -> Decimal:
    number = Decimal(text)
    if str(number) != text:
        raise ValueError(f"{text[:40]!r} is no decimal number")
    return number


def _read_fraction(numerator: str, denominator: str) -> Fraction:
    fraction = Fraction(_number(numerator), _number(denominator))
    if _hex(fraction.denominator) != denominator:
        raise ValueError("a fraction is not in its lowest terms")
    return fraction


def _write_dtype(dtype: np.dtype[Any], depth: int = 0) -> object:
    if depth > _DTYPE_DEPTH or dtype.hasobject:
        raise TypeError("an array of objects")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["rows", _write_dtype(base, depth + 1), list(shape)]
    if dtype.names is not None:
        fields = [(name, *dtype.fields[name][:2]) for name in dtype.names]  # type: ignore[index]
        told = [[name, at, _write_dtype(kind, depth + 1)] for name, kind, at in fields]
        return ["record", dtype.itemsize, told]
    if not _DTYPE.fullmatch(dtype.str):
        raise TypeError(f"an array of {dtype}")
    return dtype.str


def _read_dtype(told: Any, depth: int = 0) -> np.dtype[Any]:
    whole(depth, 0, _DTYPE_DEPTH)
    if isinstance(told, str):
        if not _DTYPE.fullmatch(told) or np.dtype(told).str != told:
            raise ValueError(f"{told[:40]!r} is no type of numbers")
        return np.dtype(told)
    kind, first, second = told
    if kind == "rows":
        return np.dtype((_read_dtype(first, depth + 1), _read_shape(second)))
    if kind != "record":
        raise ValueError("an array's type is unknown")
    formats = [_read_dtype(inner, depth + 1) for _, _, inner in second]
    names, offsets = [name for name, _, _ in second], [at for _, at, _ in second]
    made = {"names": names, "formats": formats, "offsets": offsets, "itemsize": first}
    return np.dtype(made)  # type: ignore[call-overload, no-any-return]


def _read_shape(shape: list[object]) -> tuple[int, ...]:
    return tuple(whole(length, 0, 2**62) for length in shape)


def _write_array(given: NDArray[Any] | np.generic) -> list[object]:
    array = np.asarray(given)
    if array.dtype.itemsize == 0 and array.size > 1:
        raise TypeError("an array of nothing")
    return [_write_dtype(array.dtype), list(array.shape), _base64(array.tobytes())]


def _read_array(dtype: object, shape: list[object], text: str) -> NDArray[Any]:
    kind, lengths, data = _read_dtype(dtype), _read_shape(shape), bytearray(_bytes(text))
    count = math.prod(lengths)
    if kind.itemsize * count != len(data) or (kind.itemsize == 0 and count > 1):
        raise ValueError("an array is longer or shorter than its shape")
    return np.ndarray(lengths, kind, buffer=data) if data else np.zeros(lengths, kind)


def _read_scalar(dtype: object, shape: list[object], text: str) -> object:
    scalar = _read_array(dtype, shape, text)[()]
    if not isinstance(scalar, np.generic):
        raise ValueError("an array stands where a number should")
    return scalar


def _write_random(source: random.Random) -> list[object]:
    version, words, spare = source.getstate()
    whole(version, _RANDOM_VERSION, _RANDOM_VERSION)
    return [list(words), spare]


def _read_random(words: list[object], spare: object) -> random.Random:
    *most, place = words
    if len(most) != _RANDOM_WORDS or not (spare is None or type(spare) is float):
        raise ValueError("a source of chance has other numbers")
    state = tuple(whole(word, 0, 2**32 - 1) for word in most)
    source = random.Random(0)
    source.setstate((_RANDOM_VERSION, (*state, whole(place, 0, _RANDOM_WORDS)), spare))
    return source


def _write_seed(seed: object) -> list[object]:
    if type(seed) is not np.random.SeedSequence:
        raise TypeError(f"a source of chance seeded by a {type(seed).__name__}")
    entropy: Any = seed.entropy
    words = [_hex(int(word)) for word in entropy] if np.iterable(entropy) else _hex(int(entropy))
    key = [_hex(int(word)) for word in seed.spawn_key]
    return [words, key, seed.pool_size, seed.n_children_spawned]


def _read_seed(
    words: str | list[str], key: list[str], pool_words: int, spawned: int
) -> np.random.SeedSequence:
    return np.random.SeedSequence(
        [_number(word) for word in words] if isinstance(words, list) else _number(words),
        spawn_key=tuple(_number(word) for word in key),
        pool_size=whole(pool_words, 4, _POOL_WORDS_MAX),
        n_children_spawned=whole(spawned, 0, 2**32 - 1),
    )


def _write_bits(bits: np.random.BitGenerator) -> list[object]:
    name = type(bits).__name__
    words = []
    for path, *_ in _FIELDS[name]:
        found: Any = bits.state
        for step in path.split("."):
            found = found[step]
        words.append([_hex(int(word)) for word in np.ravel(np.array(found, object))])
    return [name, words, *_write_seed(bits.seed_seq)]


def _read_bits(name: str, words: list[list[str]], *seed: Any) -> np.random.BitGenerator:
    state: dict[str, Any] = {"bit_generator": name, "state": {}}
    for (path, kind, count, most), texts in zip(_FIELDS[name], words, strict=True):
        numbers = [whole(_number(text), 0, most) for text in texts]
        whole(len(numbers), count, count)
        *above, last = path.split(".")
        place = state["state"] if above else state
        place[last] = numbers[0] if kind is None else np.array(numbers, kind)
    bits: np.random.BitGenerator = getattr(np.random, name)(_read_seed(*seed))
    bits.state = state
    return bits


def _read_str(text: str) -> str:
    return _bytes(text).decode("utf-8", "surrogatepass")


Writer = Callable[[Any], list[object]]

_KINDS: dict[str, tuple[type, Writer, Callable[..., object]]] = {
    "int": (int, lambda number: [_hex(number)], _number),
    "float": (
        float,
        lambda number: [struct.pack(">d", number).hex()],
        lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
    ),
    "str": (str, lambda text: [_base64(text.encode("utf-8", "surrogatepass"))], _read_str),
    "bytes": (bytes, lambda data: [_base64(data)], _bytes),
    "bytearray": (bytearray, lambda data: [_base64(data)], lambda text: bytearray(_bytes(text))),
    "array": (np.ndarray, _write_array, _read_array),
    "decimal": (Decimal, lambda number: [str(number)], _read_decimal),
    "fraction": (Fraction, lambda f: [_hex(f.numerator), _hex(f.denominator)], _read_fraction),
    "datetime": (datetime, _write_datetime, _read_datetime),
    "date": (date, lambda day: [day.year, day.month, day.day], date),
    "timedelta": (
        timedelta,
        lambda span: [span.days, span.seconds, span.microseconds],
        timedelta,
    ),
    "zone": (type(UTC), _write_zone, lambda: UTC),
    "random": (random.Random, _write_random, _read_random),
}

WRITERS: dict[type, tuple[str, Writer]] = {
    kind: (name, write) for name, (kind, write, _) in _KINDS.items()
} | {getattr(np.random, name): ("bits", _write_bits) for name in _FIELDS}

READERS: dict[str, Callable[..., object]] = {
    "bits": _read_bits,
    "scalar": _read_scalar,
    **{name: read for name, (_, _, read) in _KINDS.items()},
}


def writer_of(value: object) -> tuple[str, Writer] | None:
    """Return the name and the writer of a value's kind; None when it has parts or is unknown."""
    found = WRITERS.get(type(value))
    if found is None and isinstance(value, np.generic) and type(value).__module__ == "numpy":
        return "scalar", _write_array
    return found
