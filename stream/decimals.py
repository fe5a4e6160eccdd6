"""Decimal text to integers and back, without passing through a float."""

import re

from flowtape.stream.errors import OffGridError

_DECIMAL = re.compile(r"(-?)(\d{1,18})(?:\.(\d{0,18}))?", re.ASCII)
_INT64_MAX = 2**63 - 1


def parse_decimal(text: str, decimals: int) -> int:
    """Return `text` times 10**decimals as an exact integer.

    Raises OffGridError when the text is no plain decimal number, has more than `decimals`
    significant decimals, or does not fit 64 bits.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise OffGridError(f"{text!r} is not a plain decimal number")
    sign, whole, fraction = match.group(1), match.group(2), (match.group(3) or "").rstrip("0")
    if len(fraction) > decimals:
        raise OffGridError(f"{text} has more than {decimals} decimals")
    value = int(whole + fraction.ljust(decimals, "0"))
    if value > _INT64_MAX:
        raise OffGridError(f"{text} is too large for {decimals} decimals")
    return -value if sign else value


def format_decimal(value: int, decimals: int) -> str:
    """Return the exact decimal text of `value` times 10**-decimals, with all its decimals."""
    if decimals == 0:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
