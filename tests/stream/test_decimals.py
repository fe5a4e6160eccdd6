from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream.decimals import format_decimal, parse_decimal
from flowtape.stream.errors import OffGridError


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 12))
def test_text_and_back(value: int, decimals: int) -> None:
    text = format_decimal(value, decimals)
    assert Decimal(text) == Decimal(value).scaleb(-decimals)
    if len(text.lstrip("-").partition(".")[0]) <= 18:
        assert parse_decimal(text, decimals) == value


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=5, min_value=-(10**9), max_value=10**9
    )
)
def test_agrees_with_decimal(number: Decimal) -> None:
    assert parse_decimal(f"{number:f}", 8) == int(number.scaleb(8))


@pytest.mark.parametrize(
    ("text", "decimals"),
    [
        ("", 2), ("-", 2), (".5", 2), ("1e5", 2), ("+1", 2), ("1,5", 2), ("0x10", 2), ("nan", 2),
        ("1.005", 2), ("0.123456789", 8), ("9223372036854775808", 0), ("92233720368547758.08", 2),
        (" 1", 2), ("1 ", 2), ("\u0661", 2), ("1.2.3", 2), ("1" * 40, 0),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(text: str, decimals: int) -> None:
    with pytest.raises(OffGridError) as caught:
        parse_decimal(text, decimals)
    assert text.strip() in str(caught.value)


def test_trailing_zeros_are_no_decimals() -> None:
    assert parse_decimal("27540.00000000", 2) == 2754000
    assert parse_decimal("7.", 0) == 7
