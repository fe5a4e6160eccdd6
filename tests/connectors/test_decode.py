import contextlib
import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.decode import (
    ControlReply,
    DecodeError,
    OtherFrame,
    ShutdownNotice,
    TradeFrame,
    decode_error,
    decode_exchange_info,
    decode_frame,
    decode_page,
    raw_rows,
)
from flowtape.connectors.binance.messages import ApiError
from flowtape.connectors.binance.rows import Row, rows_of, trades_of
from flowtape.connectors.venue.frames import Shape
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.decimals import format_decimal
from flowtape.stream.instrument import Instrument
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX

BTC = Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=5)
BTC_UM = Instrument("BTCUSDT", "um", price_decimals=2, qty_decimals=3)

SPOT = (
    '{"e":"aggTrade","E":1784410630175,"s":"BTCUSDT","a":4017087867,"p":"64682.62000000",'
    '"q":"0.02435000","f":6516181178,"l":6516181179,"T":1784410630174,"m":true,"M":true}'
)
FUTURES = (
    '{"e":"aggTrade","E":1784410629584,"a":3387056463,"s":"BTCUSDT","p":"64650.00","q":"0.492",'
    '"nq":"0.492","f":7910555181,"l":7910555183,"T":1784410629576,"m":false,"st":1}'
)
SPOT_ROW = Row(4017087867, 1784410630174000, 6468262, 2435, 6516181178, 6516181179, True)


def combined(payload: str, stream: str = "btcusdt@aggTrade") -> str:
    return f'{{"stream":"{stream}","data":{payload}}}'


def changed(**values: object) -> str:
    frame = json.loads(SPOT)
    for key, value in values.items():
        frame[key] = value
    return json.dumps(frame)


def test_spot_frame_becomes_exact_integers():
    event = decode_frame(SPOT, BTC)
    assert event == TradeFrame("BTCUSDT", SPOT_ROW, 1784410630175000)
    assert trades_of([SPOT_ROW]).side.tolist() == [-1]


def test_combined_bytes_and_reordered_keys_decode_alike():
    reordered = json.dumps(dict(reversed(json.loads(SPOT).items())))
    shapes = [combined(SPOT), SPOT.encode(), reordered, f'{{"data":{SPOT}, "stream":"x"}}']
    events = [decode_frame(shape, BTC) for shape in shapes]
    assert events == [decode_frame(SPOT, BTC)] * 4


def test_futures_frame_ignores_what_it_does_not_know():
    event = decode_frame(combined(FUTURES), BTC_UM)
    assert isinstance(event, TradeFrame)
    assert event.row == Row(
        3387056463, 1784410629576000, 6465000, 492, 7910555181, 7910555183, False
    )


def test_microseconds_are_told_by_magnitude():
    event = decode_frame(changed(E=1784410630175123, T=1784410630174999), BTC)
    assert isinstance(event, TradeFrame)
    assert (event.event_us, event.row.ts_us) == (1784410630175123, 1784410630174999)


def test_rows_taken_back_by_the_venue_are_void():
    event = decode_frame(changed(p="0.00000000", q="0.00000000", f=-1, l=-1), BTC)
    assert isinstance(event, TradeFrame)
    assert event.row.void
    assert not SPOT_ROW.void


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"p": "64682.625"}, "more than 2 decimals"),
        ({"q": "0.000001"}, "more than 5 decimals"),
        ({"p": "1e5"}, "not a plain decimal"),
        ({"p": " 1.0"}, "not a plain decimal"),
        ({"p": "٣"}, "not a plain decimal"),
        ({"p": "-1.00"}, "out of range"),
        ({"p": "99999999999999.00"}, "out of range"),
        ({"p": 64682.62}, "Expected `str`, got `float`"),
        ({"a": "4017087867"}, "Expected `int`, got `str`"),
        ({"a": -2}, "Expected `int` >= 0"),
        ({"a": 2**63}, "<= 9223372036854775807|out of range"),
        ({"m": 1}, "Expected `bool`"),
        ({"f": 5, "l": 4}, "last id is below first id"),
        ({"T": 1784410630174 - 100_000_000}, "over a day"),
        ({"T": 10**18, "E": 10**18}, "out of range"),
        ({"T": True}, "Expected `int`, got `bool`"),
    ],
)
def test_wrong_values_are_named(values, said):
    for frame in (changed(**values), combined(changed(**values))):
        with pytest.raises(DecodeError, match=said) as caught:
            decode_frame(frame, BTC)
        assert "\n" not in str(caught.value)


def test_missing_keys_are_named():
    for key in json.loads(SPOT):
        if key in ("e", "M"):
            continue
        frame = json.dumps({k: v for k, v in json.loads(SPOT).items() if k != key})
        with pytest.raises(DecodeError, match=f"missing required field `{key}`"):
            decode_frame(frame, BTC)


def test_shutdown_is_heard_in_both_forms():
    frame = '{"e":"serverShutdown","E":1770123456789}'
    assert decode_frame(frame, BTC) == ShutdownNotice(1770123456789000)
    assert decode_frame(combined(frame, "!serverShutdown"), BTC) == ShutdownNotice(1770123456789000)
    assert decode_frame('{"e":"serverShutdown"}', BTC) == ShutdownNotice(0)


def test_replies_and_both_forms_of_errors():
    assert decode_frame('{"result":null,"id":1}', BTC) == ControlReply(1, None, None)
    assert decode_frame('{"result":["x"],"id":"u-1"}', BTC) == ControlReply("u-1", ["x"], None)
    error = ApiError(2, "Invalid request")
    nested = '{"error":{"code":2,"msg":"Invalid request"},"id":7}'
    assert decode_frame(nested, BTC) == ControlReply(7, None, error)
    assert decode_frame('{"code":2,"msg":"Invalid request"}', BTC) == ControlReply(
        None, None, error
    )
    with pytest.raises(DecodeError, match="no code"):
        decode_frame('{"error":{"code":"2"},"id":7}', BTC)


def test_other_events_pass_by():
    assert decode_frame('{"e":"kline","E":1,"s":"BTCUSDT","k":{}}', BTC) == OtherFrame("kline")
    ticker = '{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}'
    assert decode_frame(combined(ticker, "btcusdt@bookTicker"), BTC) == OtherFrame(
        "btcusdt@bookTicker"
    )
    assert decode_frame(combined("[1,2]", "!miniTicker@arr"), BTC) == OtherFrame("!miniTicker@arr")


@pytest.mark.parametrize(
    "data",
    ["", "null", "[]", "3", "{", SPOT[:70], "\x00", "{}", "[" * 10_000, "{" * 10_000, "\ud800"],
)
def test_garbage_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        decode_frame(data, BTC)


INSTRUMENTS = (BTC, BTC_UM)
REST_SPOT = (
    '[{"a":4017087867,"p":"64682.62000000","q":"0.02435000","f":6516181178,"l":6516181179,'
    '"T":1784410630174,"m":true,"M":true}]'
)
REST_FUTURES = (
    '[{"a":3387056463,"p":"64650.00","q":"0.492","nq":"0.492","f":7910555181,"l":7910555183,'
    '"T":1784410629576,"m":false}]'
)
SEEDS = (SPOT, FUTURES, REST_SPOT, REST_FUTURES, f'{{"stream":"x","data":{SPOT}}}')


def survives(data: str | bytes) -> None:
    """Frames and pages of both markets: an event, a page or a DecodeError, and nothing else."""
    for instrument in INSTRUMENTS:
        with contextlib.suppress(DecodeError):
            event = decode_frame(data, instrument)
            assert isinstance(event, TradeFrame | ShutdownNotice | ControlReply | OtherFrame)
        body = data.encode(errors="surrogatepass") if isinstance(data, str) else data
        with contextlib.suppress(DecodeError):
            page = decode_page(body, instrument, 3)
            assert all(error.reason and error.raw for error in page.errors)
            assert raw_rows(body).keys() >= {row.agg_id for row in page.rows}
        with contextlib.suppress(DecodeError):
            decode_exchange_info(body)
        decode_error(body)


@given(st.binary(max_size=300))
def test_any_bytes_are_events_or_decode_errors(data):
    survives(data)


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_an_event_or_a_decode_error(text):
    survives(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [*json.loads(SPOT), "nq", "st", "stream", "data", "id", "result", "error", "code", "msg"]
)


@given(st.dictionaries(KEYS, VALUES | st.just("aggTrade"), max_size=8), st.integers(0, 2))
def test_any_object_is_an_event_or_a_decode_error(message, shape):
    text = json.dumps(message)
    survives((text, combined(text), f"[{text}]")[shape])


@given(st.sampled_from(SEEDS), KEYS, VALUES, st.integers(0, len(SPOT)), st.binary(max_size=3))
def test_damaged_trades_are_events_or_decode_errors(text, key, value, at, noise):
    message = json.loads(text)
    rows = message if isinstance(message, list) else [message]
    survives(json.dumps([row | {key: value} for row in rows]))
    survives(json.dumps(rows[0] | {key: value}))
    survives(text.encode()[:at] + noise + text.encode()[at:])
    survives(text[:at])


HUGE = "9" * 5_000


@pytest.mark.parametrize(
    "value", [HUGE, f'"{HUGE}"', f'"0.{HUGE}"', "1e999", f"-{HUGE}", f'["{HUGE}"]', '"\\ud800"']
)
def test_huge_numbers_and_broken_text_are_events_or_decode_errors(value):
    for text in SEEDS:
        for key, old in (("p", '"p":"'), ("a", '"a":'), ("T", '"T":'), ("e", '"e":"')):
            at = text.find(old)
            if at >= 0:
                end = min(i for i in (text.find(",", at), text.find("}", at)) if i > 0)
                survives(f'{text[:at]}"{key}":{value}{text[end:]}')


def damaged(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS).encode())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        other = rng.choice(SEEDS).encode()
        cut = rng.randrange(len(other))
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = other[cut : cut + rng.randint(1, 40)]
            case _:
                data[at:at] = rng.choice([b"[", b"{", b'"', b"null", b"-1", b"1e9", b"\\u0000"])
    return bytes(data)


@pytest.mark.parametrize("rounds", [2_000, pytest.param(300_000, marks=pytest.mark.deep)])
def test_spliced_messages_are_events_or_decode_errors(rounds):
    rng = random.Random(rounds)
    for _ in range(rounds):
        data = damaged(rng)
        survives(data)
        survives(data.decode(errors="replace"))


JSON_VALUES = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.booleans(), max_size=3)


@given(st.dictionaries(st.text(min_size=1, max_size=4), JSON_VALUES, max_size=4))
def test_unknown_keys_change_nothing(extra):
    # what one market knows is not unknown, though the other does not send it
    extra = {k: v for k, v in extra.items() if k not in json.loads(SPOT) | json.loads(FUTURES)}
    for text, instrument in ((SPOT, BTC), (FUTURES, BTC_UM)):
        known = json.loads(text)
        more = json.dumps(extra | known)
        assert decode_frame(more, instrument) == decode_frame(text, instrument)
    for text, instrument in ((REST_SPOT, BTC), (REST_FUTURES, BTC_UM)):
        (known,) = json.loads(text)
        more = json.dumps([extra | known])
        page = decode_page(more.encode(), instrument, 1)
        assert page.rows == decode_page(text.encode(), instrument, 1).rows
        assert not page.errors


ROWS = st.builds(
    Row,
    agg_id=st.integers(0, 2**63 - 1),
    ts_us=st.integers(10**15, TS_US_MAX),
    price_ticks=st.integers(0, PRICE_TICKS_MAX),
    qty_lots=st.integers(0, QTY_LOTS_MAX),
    first_id=st.just(5),
    last_id=st.integers(5, 2**63 - 1),
    is_buyer_maker=st.booleans(),
)


def frame_of(instrument, row, event_us, shape):
    """Return the venue's frame of one trade."""
    events = np.array([event_us], np.int64)
    return Wire(instrument).agg_trades(trades_of([row]), events, shape)[0].decode()


@given(ROWS, st.booleans(), st.sampled_from(["spot", "um"]), st.integers(0, 12), st.integers(0, 12))
def test_what_the_venue_encodes_decodes_to_the_same_row(row, both, market, prices, lots):
    instrument = Instrument("BTCUSDT", market, price_decimals=prices, qty_decimals=lots)
    try:
        frame = frame_of(instrument, row, row.ts_us, Shape(both, True))
        event = decode_frame(frame, instrument)
    except DecodeError as error:
        # more digits than a 64-bit price text may have
        assert "plain decimal" in str(error)  # noqa: PT017
        return
    assert isinstance(event, TradeFrame)
    assert event.row == row
    page = decode_page(Wire(instrument).rest_rows([row], micros=True), instrument, limit=1)
    assert page.rows == [row]
    assert not page.exhausted


def test_a_bad_row_costs_a_page_that_row_alone():
    rows = [Row(3, 10**15, 5, 7, 1, 1, True), Row(1, 10**15, 5, 7, 1, 1, True)]
    body = Wire(BTC).rest_rows(rows, micros=True)
    bad = body[:-1] + b',{"a":2,"p":"0.001","q":"1","f":1,"l":1,"T":1760000000000,"m":true}]'
    page = decode_page(bad, BTC, limit=4)
    assert page.rows == rows[::-1]
    assert page.exhausted
    assert "trade 2 of BTCUSDT" in str(page.errors[0])
    for body in (b"", b"{}", b"<html>", b"[", b'{"code":-1,"msg":"x"}'):
        with pytest.raises(DecodeError):
            decode_page(body, BTC, limit=4)


def test_rest_errors_and_exchange_info():
    assert decode_error(b'{"code":-1121,"msg":"Invalid symbol."}') == ApiError(
        -1121, "Invalid symbol."
    )
    assert decode_error(b"<html>") is None
    with pytest.raises(DecodeError, match="exchangeInfo"):
        decode_exchange_info(b'{"symbols":3}')


def test_columns_and_rows_convert_both_ways():
    rng = random.Random(3)
    rows = [
        Row(
            i,
            10**15 + i,
            rng.randrange(1, 10**9),
            rng.randrange(1, 10**9),
            i,
            i,
            rng.random() < 0.5,
        )
        for i in range(50)
    ]
    assert rows_of(trades_of(rows)) == rows
    assert rows_of(trades_of([])) == []


def test_recorded_frames_of_2026_are_exact_and_consecutive(real_frames: Path):
    for name, instrument in (
        ("2026-spot-btcusdt.jsonl", BTC),
        ("2026-usdm-btcusdt.jsonl", BTC_UM),
    ):
        lines = (real_frames / name).read_text().splitlines()
        ids = []
        for line in lines:
            event = decode_frame(line, instrument)
            assert isinstance(event, TradeFrame)
            sent = json.loads(line)["data"]
            row = event.row
            assert Decimal(sent["p"]) == Decimal(format_decimal(row.price_ticks, 2))
            assert Decimal(sent["q"]) == Decimal(
                format_decimal(row.qty_lots, instrument.qty_decimals)
            )
            wire = frame_of(instrument, row, event.event_us, Shape(True, False))
            if instrument is BTC:
                assert wire == line
            else:
                assert json.loads(wire)["data"] == sent
            ids.append(row.agg_id)
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_recorded_frames_of_many_markets_are_exact(real_frames: Path):
    seen = Counter()
    for line in (real_frames / "2021-mixed-markets.jsonl").read_text().splitlines():
        raw = json.loads(line)["raw"]
        sent = json.loads(raw)["data"]
        symbol = sent["s"]
        event = decode_frame(raw, Instrument(symbol, "spot", price_decimals=8, qty_decimals=8))
        assert isinstance(event, TradeFrame)
        assert Decimal(sent["p"]) == Decimal(event.row.price_ticks).scaleb(-8)
        assert Decimal(sent["q"]) == Decimal(event.row.qty_lots).scaleb(-8)
        assert event.row.ts_us == sent["T"] * 1_000
        seen[symbol] += 1
    assert len(seen) > 50
