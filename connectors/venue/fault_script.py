"""Faults and rules from a JSON file, which is read strictly.

    {"rules": {"ping_s": 1}, "faults": [{"type": "abort", "at": "+500"}]}

or the list of faults alone. An id such as "+500" is so many behind the first one that is served.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta, Raw, Struct

from flowtape.connectors.venue.faults import (
    Backdate,
    Code,
    Count,
    Drop,
    Fault,
    Renumber,
    RestFault,
    Seconds,
    Void,
)
from flowtape.connectors.venue.rules import ConnectionRules, rules_of
from flowtape.stream.errors import InputError

_IDS = ("at", "from_id", "to_id")

Span = Annotated[float, Meta(gt=0, le=10_000_000)]


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """What a script may say about connections and limits; the market's own where it is silent.

    `scaled` takes the spans of time for the market's: at 60 times the pace they are 60 times
    shorter.
    """

    ping_s: Span | None = None
    pong_s: Span | None = None
    messages_per_s: Count | None = None
    streams_max: Count | None = None
    lifetime_s: Span | None = None
    lifetime_code: Code | None = None
    connects_max: Count | None = None
    connects_s: Seconds | None = None
    deflate: bool | None = None
    weight_per_minute: Count | None = None
    flat_errors: bool = False
    scaled: bool = False

    def connection_rules(self, market: str, speed: float) -> ConnectionRules:
        """Return what connections are held to on a market that is played at a speed."""
        named = {field.name for field in dataclasses.fields(ConnectionRules)}
        said = {name: getattr(self, name) for name in named & set(self.__struct_fields__)}
        rules = dataclasses.replace(
            rules_of(market), **{name: value for name, value in said.items() if value is not None}
        )
        if not self.scaled:
            return rules
        if math.isinf(speed):
            raise InputError("scaled rules need a --speed that is a number")
        return dataclasses.replace(
            rules,
            ping_s=rules.ping_s / speed,
            pong_s=rules.pong_s / speed,
            lifetime_s=rules.lifetime_s / speed,
            connects_s=rules.connects_s / speed,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class FaultScript:
    """What a script says."""

    rules: Rules
    faults: tuple[Fault, ...]


class _Script(Struct, frozen=True, forbid_unknown_fields=True):
    rules: Raw = Raw(b"{}")
    faults: list[Raw] = []


_list = msgspec.json.Decoder(list[Raw])
_script = msgspec.json.Decoder(_Script)
_POSITION = re.compile(r"\(byte (\d+)\)")


def read_script(path: Path, first_ids: Mapping[str, int]) -> FaultScript:
    """Read a script for symbols, given the first id that is served of each.

    Raises InputError that names the line and what is wrong there.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check --faults") from None
    try:
        script = _Script(faults=_list.decode(text)) if _is_list(text) else _script.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        position = _POSITION.search(str(error))
        raise _mistake(path, text, int(position[1]) if position else 0, "", error) from None
    at = max(0, text.find(bytes(script.rules)))
    try:
        rules = msgspec.json.decode(script.rules, type=Rules)
    except msgspec.MsgspecError as error:
        raise _mistake(path, text, at, "rules: ", error) from None
    faults: list[Fault] = []
    at = 0
    for number, raw in enumerate(script.faults, start=1):
        at = text.index(bytes(raw), at)
        try:
            faults.append(_fault(bytes(raw), first_ids))
        except (msgspec.MsgspecError, InputError) as error:
            raise _mistake(path, text, at, f"fault {number}: ", error) from None
        at += len(bytes(raw))
    return FaultScript(rules, tuple(faults))


def _fault(raw: bytes, first_ids: Mapping[str, int]) -> Fault:
    fields: Any = msgspec.json.decode(raw)
    if isinstance(fields, dict):
        known = {kind.__struct_config__.tag for kind in get_args(Fault)}
        if fields.get("type") not in known:
            raise InputError(f"type must be one of {', '.join(sorted(map(str, known)))}")
        symbol = fields.get("symbol", "")
        if not symbol and len(first_ids) > 1 and fields["type"] != RestFault.__struct_config__.tag:
            raise InputError(f"symbol must say whose ids: {' or '.join(first_ids)}")
        symbol = symbol or next(iter(first_ids))
        if symbol not in first_ids:
            raise InputError(f"symbol {symbol!r} is not served; there is {' and '.join(first_ids)}")
        for name in _IDS:
            behind = fields.get(name)
            if isinstance(behind, str) and behind.startswith("+") and behind[1:].isdecimal():
                fields[name] = first_ids[symbol] + int(behind[1:])
    fault: Fault = msgspec.convert(fields, Fault)
    if isinstance(fault, Drop | Void | Backdate | Renumber) and fault.from_id > fault.to_id:
        raise InputError("from_id is behind to_id")
    return fault


def _is_list(text: bytes) -> bool:
    return text.lstrip()[:1] == b"["


def _mistake(path: Path, text: bytes, at: int, where: str, error: Exception) -> InputError:
    line = text.count(b"\n", 0, at) + 1
    said = str(error).replace(" - at `$.", " for `").replace("`", "")
    return InputError(f"{path} line {line}: {where}{said}")
