"""`flowtape serve` as a process of its own, with flowtape itself and plain queries as clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.session_tape import tape_store_of
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from flowtape.stream.session import Session
from flowtape.stream.trades import Trades
from tests.stream.tapes import make_columns

Run = Callable[..., tuple[int, str, str]]
COUNT = 3_000
FIRST_ID = 500
START_US = 1_767_225_600_000_000


def trades(count: int = COUNT, seed: int = 4) -> Trades:
    c = make_columns(count, seed=seed, mean_gap_us=3_000)
    ts_us = np.sort(c.ts_us)
    ids = np.arange(FIRST_ID, FIRST_ID + count)
    return Trades(
        ids, ts_us - ts_us[0] + START_US, c.price_ticks, c.qty_lots, ids * 2, ids * 2 + 1, c.side
    )


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    store = TapeStore(tmp_path / "tapes")
    for symbol, market in (("BTCUSDT", "spot"), ("ETHUSDT", "spot"), ("BTCUSDT", "um")):
        add_trades(store, Instrument(symbol, market, 2, 5), iter([trades()]))
    return store.root


def words(*said: str | Path) -> list[str]:
    return [sys.executable, "-u", "-m", "flowtape.cli.main", *map(str, said)]


@contextmanager
def serving(*said: str | Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A venue as a process, and the addresses of its streams and of REST."""
    with subprocess.Popen(
        words("serve", *said, "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(4)]
            assert lines[0].startswith("flowtape serves"), lines
            command = lines[2].split()
            assert command[:2] == ["flowtape", "live"]
            yield process, command[2:]
        finally:
            if process.poll() is None:
                process.kill()


def get(options: list[str], path: str) -> object:
    base = options[options.index("--rest-url") + 1]
    with urllib.request.urlopen(base + path, timeout=10) as answer:
        return json.load(answer)


def recorded(out: Path, *said: str) -> list[int]:
    done = subprocess.run(
        words("record", *said, "--out", out),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    store = tape_store_of(Session.open(folder))
    tape = store.open(store.only())
    return tape.full_trades(0, len(tape)).agg_id.tolist()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_flowtape_follows_what_it_serves(tapes: Path, tmp_path: Path, number: int) -> None:
    with serving("spot/BTCUSDT", "--tapes", tapes, "--speed", "2") as (process, said):
        ids = recorded(tmp_path / "out", *said, "--for", "2s")
        process.send_signal(number)
        assert process.wait(20) == 0
    assert ids[0] == FIRST_ID
    assert ids == list(range(FIRST_ID, FIRST_ID + len(ids)))
    assert len(ids) > 500


def test_live_trades_on_a_served_tape(tapes: Path, tmp_path: Path) -> None:
    strategy = Path(__file__).parents[2] / "examples/delta_divergence.py"
    with (
        serving("spot/BTCUSDT", "--tapes", tapes, "--speed", "2") as (_, said),
        subprocess.Popen(
            words(
                *("live", *said, "--no-dashboard", "--home", tmp_path / "home"),
                *("--strategy", f"{strategy}:DeltaDivergence"),
            ),
            stdout=subprocess.PIPE,
            text=True,
        ) as client,
    ):
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "following BTCUSDT; stop with Ctrl-C\n"
            with pytest.raises(subprocess.TimeoutExpired):
                client.wait(2)
            client.send_signal(signal.SIGINT)
            out, _ = client.communicate(timeout=30)
        finally:
            client.kill()
    assert "trades, 0 gaps" in out
    assert "strategy      DeltaDivergence" in out


def test_several_symbols_on_one_futures_venue_and_the_end(tapes: Path, tmp_path: Path) -> None:
    store = TapeStore(tapes)
    add_trades(store, Instrument("ETHUSDT", "um", 2, 3), iter([trades(500, seed=9)]))
    refs = ("um/BTCUSDT", "um/ETHUSDT")
    with serving(*refs, "--tapes", tapes, "--speed", "max", "--no-wait", "--once") as (process, _):
        assert process.wait(20) == 0
    with serving(*refs, "--tapes", tapes, "--speed", "2") as (_, said):
        assert said[:3] == ["BTCUSDT", "--market", "um"]
        info = get(said, "/fapi/v1/exchangeInfo")
        assert [s["symbol"] for s in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        ids = recorded(tmp_path / "out", "ETHUSDT", *said[1:], "--for", "3s")
    assert ids == list(range(FIRST_ID, FIRST_ID + len(ids)))
    assert len(ids) > 100


def test_a_range_with_its_past(tapes: Path) -> None:
    said = ("spot/BTCUSDT", "--tapes", tapes, "--from", "2026-01-01T00:00:02")
    rows = trades()
    past = int(np.searchsorted(rows.ts_us, START_US + 2_000_000))
    path = "/api/v3/aggTrades?symbol=BTCUSDT&limit=1000"
    with serving(*said) as (_, options):
        ids = [row["a"] for row in get(options, path)]
    assert ids == list(range(FIRST_ID, FIRST_ID + past))[-1000:]
    with serving(*said, "--history", "1s") as (_, options):
        ids = [row["a"] for row in get(options, path)]
    first = int(np.searchsorted(rows.ts_us, START_US + 1_000_000))
    assert ids == list(range(FIRST_ID + first, FIRST_ID + past))
    with serving(*said, "--history", "0s") as (_, options):
        assert get(options, path) == []


def test_the_archive_of_a_served_tape_can_be_fetched(tapes: Path, tmp_path: Path) -> None:
    with serving("spot/BTCUSDT", "--tapes", tapes, "--from", "2026-01-01T00:00:02") as (_, options):
        base = options[options.index("--rest-url") + 1]
        done = subprocess.run(
            words(
                *("fetch", "BTCUSDT", "--from", "2026-01-01", "--no-refill", "--daily"),
                *("--archive-url", base, "--tapes", tmp_path / "fetched"),
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    store = TapeStore(tmp_path / "fetched")
    tape = store.open(store.only())
    assert np.array_equal(tape.full_trades(0, len(tape)).agg_id, trades().agg_id)


def test_a_tape_that_happens_now(tapes: Path) -> None:
    said = ("spot/BTCUSDT", "--tapes", tapes, "--now", "--no-wait")
    with serving(*said) as (_, options):
        found: list[dict[str, int]] = []
        while not found:
            found = get(options, "/api/v3/aggTrades?symbol=BTCUSDT")
        now_ms = get(options, "/api/v3/time")["serverTime"]
    rows = trades()
    assert abs(found[0]["T"] - now_ms) < 60_000
    steps = np.diff([row["T"] for row in found])
    count = len(found)
    assert steps.tolist() == np.diff(rows.ts_us[:count] // 1_000).tolist()


def test_a_fault_script_is_kept(tapes: Path, tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text(
        '[{"type": "drop", "from_id": "+10", "to_id": "+20", "everywhere": true},\n'
        ' {"type": "abort", "at": "+300"}]'
    )
    said = ("spot/BTCUSDT", "--tapes", tapes, "--speed", "2", "--faults", script)
    with serving(*said) as (process, options):
        ids = recorded(tmp_path / "out", *options, "--for", "3s")
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=20)
    assert 'trade 800: {"type":"abort","at":800}' in told
    assert "connection 1 ended: reset" in told
    lost = set(range(FIRST_ID + 10, FIRST_ID + 21))
    assert ids == [i for i in range(FIRST_ID, ids[-1] + 1) if i not in lost]
    assert len(ids) > 400


def test_mistakes_are_one_line(run: Run, tapes: Path, tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text('[\n  {"type": "abort", "at": 1},\n  {"type": "abort", "at": "soon"}\n]')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for said, expected in (
            (["NOPE"], "get it with `flowtape fetch NOPE --from DAY`, or make one with"),
            (["um/NOPE"], "`flowtape fetch NOPE --market um --from DAY`"),
            (["spot/BTCUSDT", "--port", str(port)], f"port {port} is in use; choose another"),
            (["spot/BTCUSDT", "--speed", "0"], "speed must be 0.1 to 10000 or max, was 0"),
            (["ETHUSDT", "ETHUSDT"], "is on the venue twice; name each tape once"),
            (["ETHUSDT", "um/BTCUSDT"], "one venue has one market, but these are spot and um"),
            (["ETHUSDT", "--now", "--speed", "2"], "--now goes with --speed 1"),
            (["ETHUSDT", "--history", "yes"], "--history must be a span"),
            (["ETHUSDT", "--faults", "none.json"], "none.json: No such file or directory"),
            (
                ["ETHUSDT", "--faults", str(script)],
                "line 3: fault 2: Expected int, got str for at",
            ),
        ):
            code, out, err = run("serve", *said, "--tapes", tapes)
            assert (code, out, err.count("\n")) == (2, "", 1), said
            assert expected in err
