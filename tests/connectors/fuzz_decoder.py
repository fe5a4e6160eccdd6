"""Any bytes into the decoder, led on by the branches of it that they reach (atheris, libFuzzer).

    python -m tests.connectors.fuzz_decoder CORPUS [-runs=100000] [-seed=1] [--planted]

Whatever comes is read or refused with a DecodeError; the native reader takes only what the other
one reads to the same trade. `--planted` puts a fault into the decoder, which must be found.
"""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowtape.connectors.binance"]):
    from flowtape.connectors.binance import decode
    from flowtape.connectors.binance.plain_frames import read_plain_frames
    from flowtape.connectors.binance.rows import rows_of
    from flowtape.stream.instrument import Instrument

SPOT = Instrument("BTCUSDT", "spot", 2, 5)
FUTURES = Instrument("BTCUSDT", "um", 1, 3)

FRAME = (
    b'{"e":"aggTrade","E":1784410630175,"s":"BTCUSDT","a":4017087867,"p":"64682.62000000",'
    b'"q":"0.02435000","f":6516181178,"l":6516181178,"T":1784410630175,"m":true,"M":true}'
)
SEEDS = (
    FRAME,
    b'{"stream":"btcusdt@aggTrade","data":' + FRAME + b"}",
    FRAME.replace(b',"M":true', b',"nq":"0.024","st":1'),
    FRAME.replace(b"1784410630175", b"1784410630175123"),
    b'{"e":"serverShutdown","E":1784410630175}',
    b'{"result":null,"id":1}',
    b'{"error":{"code":2,"msg":"Invalid request: unknown property"},"id":"a"}',
    b'{"code":-1121,"msg":"Invalid symbol."}',
    b'[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true}]',
    b'{"serverTime":1784410630175,"symbols":[{"symbol":"BTCUSDT","status":"TRADING","filters":'
    b'[{"filterType":"PRICE_FILTER","tickSize":"0.01","minPrice":"0.01","maxPrice":"1000000"},'
    b'{"filterType":"LOT_SIZE","stepSize":"0.00001","minQty":"0.00001","maxQty":"9000"}]}]}',
)
WORDS = (
    *('"e":"aggTrade"', '"a":', '"p":"', '"q":"', '"f":', '"l":', '"T":', '"m":true', '"E":'),
    *('"stream":"', '"data":', '"result":null', '"id":', '"error":', '"code":', '"msg":"'),
    *('"symbols":[', '"filters":[', '"tickSize":"', "null", "1e400", "NaN", "-1", "\\u0000"),
    *("9223372036854775807", "18446744073709551616", "[[[[", '"e":"serverShutdown"'),
)


def planted(frame: bytes | str, instrument: Instrument) -> object:
    """Read a frame with a fault: one of several trades is a surprise."""
    event = decode.decode_frame(frame, instrument)
    if isinstance(event, decode.TradeFrame) and event.row.last_id > event.row.first_id:
        raise KeyError("several trades")
    return event


def checked(read_frame: Callable[[bytes | str, Instrument], object]) -> Callable[[bytes], None]:
    """Return what is to be held against any bytes."""

    def check(data: bytes) -> None:
        for instrument in (SPOT, FUTURES):
            event = None
            try:
                event = read_frame(data, instrument)
            except decode.DecodeError as error:
                raw = error.raw.encode() if isinstance(error.raw, str) else bytes(error.raw)
                assert raw in data
            found = read_plain_frames([data], 0, instrument)
            if len(found.trades):
                assert isinstance(event, decode.TradeFrame)
                assert rows_of(found.trades) == [event.row]
                assert int(found.event_us[0]) == event.event_us
            with contextlib.suppress(decode.DecodeError):
                decode.decode_page(data, instrument, 3)
        with contextlib.suppress(decode.DecodeError):
            decode.decode_exchange_info(data)
        decode.decode_error(data)

    return check


def main() -> None:
    arguments = [word for word in sys.argv if word != "--planted"]
    corpus = Path(arguments[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = corpus.with_suffix(".words")
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"') for word in WORDS)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    read_frame = planted if len(arguments) < len(sys.argv) else decode.decode_frame
    options = [*arguments, f"-dict={words}", f"-artifact_prefix={corpus.parent}/"]
    atheris.Setup(options, checked(read_frame))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
