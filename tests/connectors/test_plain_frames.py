"""The native reader of frames reads what the other one reads, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.decode import DecodeError, TradeFrame, decode_frame
from flowtape.connectors.binance.plain_frames import read_plain_frames
from flowtape.connectors.binance.rows import rows_of
from flowtape.stream.instrument import Instrument

SPOT = Instrument("BTCUSDT", "spot", 2, 5)
COARSE = Instrument("BTCUSDT", "um", 0, 0)

PLAIN = {
    "e": "aggTrade",
    "E": 1784410630175,
    "s": "BTCUSDT",
    "a": 4017087867,
    "p": "64682.62000000",
    "q": "0.02435000",
    "f": 6516181178,
    "l": 6516181178,
    "T": 1784410630175,
    "m": True,
    "M": True,
}

DECIMALS = st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,20})?", fullmatch=True) | st.sampled_from(
    ["0.00000000", "1e5", "", ".5", "5.", "00.10", "64682.62000000", "1125899906842624", "NaN"]
)
WHOLES = st.integers(-2, 2**64) | st.integers(1784410620000, 1784410640000) | st.just(2**53)
ANYTHING = st.none() | st.booleans() | WHOLES | st.floats() | st.text(max_size=4) | st.just({})
VALUES = {
    "e": st.sampled_from(["aggTrade", "trade", "aggTrade "]) | ANYTHING,
    "s": st.sampled_from(["BTCUSDT", "ETHUSDT", "btcusdt"]) | ANYTHING,
    "p": DECIMALS | ANYTHING,
    "q": DECIMALS | ANYTHING,
    "E": WHOLES | st.integers(10**15 - 2, 10**15 + 2) | ANYTHING,
    "T": WHOLES | st.integers(1784410630175000, 1784497130175000) | ANYTHING,
    "m": ANYTHING,
    "M": ANYTHING,
    "nq": DECIMALS,
    "st": ANYTHING,
    "x\\y": ANYTHING,
}


def read(frame: bytes, instrument: Instrument = SPOT) -> TradeFrame | None:
    found = read_plain_frames([frame], 0, instrument)
    if not len(found.trades):
        return None
    return TradeFrame("BTCUSDT", rows_of(found.trades)[0], int(found.event_us[0]))


def decoded(frame: bytes, instrument: Instrument) -> object:
    try:
        return decode_frame(frame, instrument)
    except DecodeError:
        return None


@given(
    changes=st.lists(
        st.sampled_from([*sorted(PLAIN), "nq", "st", "x\\y"]).flatmap(
            lambda key: st.tuples(st.just(key), VALUES.get(key, WHOLES | ANYTHING))
        ),
        max_size=3,
    ),
    removed=st.lists(st.sampled_from(sorted(PLAIN)), max_size=1),
    order=st.randoms(use_true_random=False),
    shuffled=st.booleans(),
    wrapped=st.sampled_from([None, "btcusdt@aggTrade", 'quoted"', "\x7f"]),
    spaces=st.sampled_from([(",", ":"), (", ", ": ")]),
    instrument=st.sampled_from([SPOT, COARSE]),
)
def test_it_agrees_with_the_other_reader(
    changes, removed, order, shuffled, wrapped, spaces, instrument
):
    message = PLAIN | dict(changes)
    for key in removed:
        del message[key]
    items = list(message.items())
    if shuffled:
        order.shuffle(items)
    whole = dict(items) if wrapped is None else {"stream": wrapped, "data": dict(items)}
    frame = json.dumps(whole, separators=spaces).encode()
    found = read(frame, instrument)
    assert found is None or found == decoded(frame, instrument)


@given(st.binary(max_size=40), st.integers(0, 180), st.integers(0, 40))
def test_damage_is_left_to_the_other_reader(damage, at, length):
    text = json.dumps(PLAIN, separators=(",", ":")).encode()
    frame = text[:at] + damage + text[at + length :]
    found = read(frame)
    assert found is None or found == decoded(frame, SPOT)


def test_plain_frames_are_read_up_to_the_first_other_one():
    frames = [
        json.dumps(PLAIN | {"a": number}, separators=(",", ":")).encode() for number in range(9)
    ]
    frames[6] = b'{"result":null,"id":1}'
    assert read_plain_frames(frames, 2, SPOT).trades.agg_id.tolist() == [2, 3, 4, 5]
    assert len(read_plain_frames(frames, 6, SPOT).trades) == 0
    assert read_plain_frames(frames, 7, SPOT).trades.agg_id.tolist() == [7, 8]
    assert len(read_plain_frames(frames, 9, SPOT).trades) == 0


@pytest.mark.parametrize("wrap", ["%s", '{"stream":"btcusdt@aggTrade","data":%s}'])
def test_what_the_venue_sends_is_plain(wrap):
    text = json.dumps(PLAIN, separators=(",", ":"))
    futures = text.replace(',"f"', ',"nq":"0.01","f"').replace(',"M":true', ',"st":1')
    for one in (text, text.replace("30175", "30175123"), futures):
        frame = (wrap % one).encode()
        assert read(frame) == decode_frame(frame, SPOT)
