from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.dashboards.frames import encode, layout, stamp
from flowtape.stream.records import BAR, BUBBLE, EQUITY, FILL, ORDER, PRINT, PROFILE_ROW, SNAPSHOT
from flowtape.stream.view import Cursor, Update
from tests.dashboards.feeder import Feeder

FEEDER = Feeder(span_s=120, at_s=60, rate_per_s=20, with_fills=True)


def frame_of(update: Update, notice: str = "") -> bytes:
    return encode(
        update,
        FEEDER.state(),
        feed=0,
        notice=notice,
        atoms_per_ticklot=1000,
        quote_decimals=5,
        profile_row_ticks=100,
    )


def decode(frame: bytes) -> tuple[dict[str, float], dict[str, Any]]:
    """The same walk through the table that browsers make."""
    table: Any = layout()
    counters = np.frombuffer(frame, "<u4", len(table["counters"]))
    numbers = np.frombuffer(frame, "<f8", len(table["numbers"]), counters.nbytes)
    header = dict(zip(table["counters"], counters.tolist(), strict=True)) | dict(
        zip(table["numbers"], numbers.tolist(), strict=True)
    )
    at = counters.nbytes + numbers.nbytes
    columns: dict[str, Any] = {}
    for section, name, kind in table["columns"]:
        column = np.frombuffer(frame, f"<{kind}", header[f"{section}_count"], at)
        assert at % column.itemsize == 0
        columns[f"{section}.{name}"] = column
        at += column.nbytes
    assert at == len(frame)
    return header, columns


def empty_update(**parts: Any) -> Update:
    kinds = {
        "bars": BAR,
        "bubbles": BUBBLE,
        "prints": PRINT,
        "fills": FILL,
        "equity": EQUITY,
        "orders": ORDER,
    }
    arrays = {name: np.zeros(0, dtype) for name, dtype in kinds.items()}
    snapshot = np.zeros((), SNAPSHOT)[()]
    return Update(
        **({"epoch": 3, "restart": False, "snapshot": snapshot, "profile": None} | arrays | parts)
    )


def test_frame_holds_every_record_of_the_view() -> None:
    view = FEEDER.views[0]
    update = view.read(Cursor(), with_profile=True)
    header, columns = decode(frame_of(update))
    flags: Any = layout()["flags"]
    assert int(header["flags"]) & flags["restart"]
    np.testing.assert_array_equal(columns["bars.close"], update.bars["close_ticks"])
    np.testing.assert_array_equal(
        np.rint(columns["bars.ts"] * 1000).astype(np.int64), update.bars["ts_us"]
    )
    np.testing.assert_array_equal(columns["prints.qty"], update.prints["qty_lots"])
    np.testing.assert_array_equal(
        np.rint(columns["bubbles.ts"] * 1000).astype(np.int64), update.bubbles["ts_us"]
    )
    np.testing.assert_array_equal(columns["bubbles.side"], update.bubbles["side"])
    notional = (columns["bubbles.price"] * columns["bubbles.qty"]).sum()
    exact = (
        update.bubbles["first_ticks"] * update.bubbles["qty_lots"]
        + update.bubbles["offset_ticklots"]
    ).sum()
    assert abs(notional / float(exact) - 1) < 1e-12
    np.testing.assert_array_equal(columns["profile.buy"], update.profile["buy_lots"])  # type: ignore[index]
    assert header["last"] == int(update.snapshot["last_ticks"])
    assert header["profile_row"] == 100


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=6, max_size=6),
    rows=st.integers(0, 5),
    notice=st.text(max_size=40),
)
def test_any_mixture_of_lengths_is_aligned_and_complete(
    counts: list[int], rows: int, notice: str
) -> None:
    kinds = (BAR, BUBBLE, PRINT, FILL, EQUITY, ORDER)
    names = ("bars", "bubbles", "prints", "fills", "equity", "orders")
    arrays = {n: np.zeros(c, k) for n, c, k in zip(names, counts, kinds, strict=True)}
    update = empty_update(profile=np.zeros(rows, PROFILE_ROW), **arrays)
    header, columns = decode(frame_of(update, notice))
    assert [header[f"{name}_count"] for name in names] == counts
    assert bytes(columns["notice.text"]).decode() == notice


def test_money_is_in_the_quote_asset_and_entry_in_ticks() -> None:
    snapshot = np.zeros((), SNAPSHOT)
    snapshot["position_lots"] = -4
    snapshot["cost_atoms"]["lo"] = (1 << 64) - 4 * 250 * 1000
    snapshot["cost_atoms"]["hi"] = -1
    snapshot["fees_atoms"]["lo"] = 7 * 1000 * 10**5
    header, _ = decode(frame_of(empty_update(snapshot=snapshot[()])))
    assert header["entry"] == 250
    assert header["fees"] == 7
    flat, _ = decode(frame_of(empty_update()))
    assert np.isnan(flat["entry"])
    assert np.isnan(flat["vwap"])


def test_stamp_changes_only_what_belongs_to_one_reader() -> None:
    frame = frame_of(FEEDER.views[0].read(Cursor()))
    stamped = stamp(frame, 41, 12.5, 3.25)
    before, columns = decode(frame)
    after, same = decode(stamped)
    np.testing.assert_equal(after, before | {"seq": 41, "sent_ms": 12.5, "round_trip_ms": 3.25})
    for name, column in columns.items():
        np.testing.assert_array_equal(column, same[name])


def test_live_feeds_have_no_end() -> None:
    update = empty_update()
    state = replace(FEEDER.state(), live=True)
    frame = encode(
        update,
        state,
        feed=0,
        notice="",
        atoms_per_ticklot=1,
        quote_decimals=0,
        profile_row_ticks=1,
    )
    header, _ = decode(frame)
    assert np.isnan(header["end_ms"])
