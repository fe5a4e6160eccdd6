"""`flowtape live` and `record` as processes of their own, against a venue on loopback."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from flowtape.cli.live_commands import clock_words
from flowtape.connectors.venue.faults import Abort, Drop
from flowtape.connectors.venue.server import VenueServer
from flowtape.replay.session_tape import tape_store_of
from flowtape.stream.instrument import Instrument
from flowtape.stream.session import Session, SymbolGap
from flowtape.stream.trades import Trades
from tests.cli.command_line import flowtape
from tests.stream.tapes import make_columns

INSTRUMENT = Instrument("BTCUSDT", "spot", 2, 5)
FIRST_ID = 500


def trades(count: int) -> Trades:
    c = make_columns(count, seed=4, mean_gap_us=3_000)
    c.ts_us.sort()
    ids = np.arange(FIRST_ID, FIRST_ID + count)
    return Trades(ids, c.ts_us, c.price_ticks, c.qty_lots, ids * 2, ids * 2 + 1, c.side)


def venue(**settings: object) -> AbstractContextManager[VenueServer]:
    """A venue of one symbol."""
    return served(VenueServer(INSTRUMENT, trades(4000), **settings))  # type: ignore[arg-type]


@contextmanager
def served(server: VenueServer) -> Iterator[VenueServer]:
    """A venue on a loop and thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def command(server: VenueServer, *words: str | Path) -> list[str]:
    return [
        sys.executable, "-u", "-m", "flowtape.cli.main", *map(str, words),
        "--stream-url", server.ws_url, "--rest-url", server.rest_url,
    ]  # fmt: skip


def run_until(
    words: list[str], first_line: str, seconds: float, number: signal.Signals
) -> tuple[int, str]:
    """Start a command, let it work, send it a signal; return its exit code and what it printed."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert process.stdout is not None
        assert first_line in process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, out


def recorded_ids(folder: Path) -> list[int]:
    store = tape_store_of(Session.open(folder))
    tape = store.open(store.only())
    return [int(i) for i in tape.full_trades(0, len(tape)).agg_id]


@pytest.mark.parametrize(
    "faults", [[], [Drop(FIRST_ID + 50, FIRST_ID + 80), Abort(FIRST_ID + 700)]]
)
def test_record_keeps_every_id_through_faults(tmp_path: Path, faults: list[object]) -> None:
    with venue(speed=1.0, faults=faults) as server:
        done = subprocess.run(
            command(server, "record", "BTCUSDT", "--for", "4s", "--out", tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    ids = recorded_ids(folder)
    assert len(ids) > 900
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert f"{len(ids):,} trades, 0 gaps" in done.stdout
    assert Session.open(folder).gaps() == ()
    replayed = flowtape("replay", folder, "--speed", "max", "--no-dashboard", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["trade_count"] == len(ids)


def test_record_seals_on_a_signal(tmp_path: Path) -> None:
    with venue(speed=1.0) as server:
        words = command(server, "record", "BTCUSDT", "--out", tmp_path)
        code, out = run_until(words, "recording BTCUSDT", 1.5, signal.SIGTERM)
    assert code == 0
    assert re.search(r"[\d,]+ trades, 0 gaps; replay it with: flowtape replay", out)
    (folder,) = tmp_path.iterdir()
    ids = recorded_ids(folder)
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_what_no_one_has_is_a_recorded_gap_and_what_waits_for_it_is_kept(tmp_path: Path) -> None:
    lost = Drop(FIRST_ID + 100, FIRST_ID + 120, everywhere=True)
    with venue(speed=1.0, faults=[lost]) as server:
        done = subprocess.run(
            command(server, "record", "BTCUSDT", "--for", "1s", "--out", tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert f"ids {lost.from_id} to {lost.to_id} are lost" in done.stderr
    (folder,) = tmp_path.iterdir()
    ids = recorded_ids(folder)
    assert ids[-1] > lost.to_id + 100
    assert ids == [i for i in range(FIRST_ID, ids[-1] + 1) if not lost.from_id <= i <= lost.to_id]
    assert f"{len(ids):,} trades, 1 gap; replay it with" in done.stdout
    assert Session.open(folder).gaps() == (SymbolGap("BTCUSDT", lost.from_id, lost.to_id),)
    verified = json.loads(flowtape("verify", folder, "--json").stdout)
    gap = {"symbol": "BTCUSDT", "from_id": lost.from_id, "to_id": lost.to_id}
    assert verified["gaps"] == [gap]
    assert verified["difference"] is None


def test_a_recording_is_replayed_while_it_runs_and_after_it_was_killed(tmp_path: Path) -> None:
    def replayed(folder: Path) -> int:
        played = flowtape("replay", folder, "--speed", "max", "--no-dashboard", "--json")
        assert played.returncode == 0, played.stderr
        assert "has not ended" in played.stderr
        return int(json.loads(played.stdout)["trade_count"])

    with venue(speed=1.0) as server:
        process = subprocess.Popen(
            command(server, "record", "BTCUSDT", "--out", tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert "recording BTCUSDT" in process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            (folder,) = tmp_path.iterdir()
            so_far = replayed(folder)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
    assert 0 < so_far <= replayed(folder)
    ids = recorded_ids(folder)
    assert replayed(folder) == len(ids) > 100
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert flowtape("doctor", folder).returncode == 0
    verified = flowtape("verify", folder)
    assert verified.returncode == 0
    assert "as far as it was kept" in verified.stdout
    more = re.search(r"^([0-9,]+) more inputs are kept, in a block", verified.stdout, re.MULTILINE)
    assert more is not None
    assert int(more[1].replace(",", "")) >= len(ids)


def test_live_with_a_strategy_is_a_session_that_verifies_and_runs_again(tmp_path: Path) -> None:
    with venue(speed=1.0) as server:
        words = command(
            server, "live", "BTCUSDT", "--no-dashboard", "--home", tmp_path,
            "--strategy", "tests.stream.strategies:Flipper",
        )  # fmt: skip
        code, out = run_until(words, "following BTCUSDT", 2, signal.SIGINT)
    assert code == 0
    assert re.search(r"^digest [0-9a-f]{64}$", out, re.MULTILINE)
    assert int(out.split(" trades")[0].split()[-1].replace(",", "")) > 200
    home = ("--home", tmp_path)
    for depth in ([], ["--deep"]):
        assert flowtape("verify", "last", *depth, *home).returncode == 0
    digests = {
        re.findall("digest ([0-9a-f]{64}): the same", flowtape(*words, *home).stdout)[0]
        for words in (
            ("replay", "last", "--no-dashboard", "--speed", "max"),
            ("replay", "last", "--no-dashboard", "--speed", "50"),
            ("backtest", "last", "--out", tmp_path / "again"),
        )
    }
    assert digests == set(re.findall("session [0-9A-Z]{26} digest ([0-9a-f]{64})", out))


def kill_after(words: list[str], seconds: float) -> None:
    """Start a command, let it work, and kill it."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_killed_live_session_goes_on_by_id_and_leads_to_its_own_replay(tmp_path: Path) -> None:
    strategy = ("--strategy", "tests.stream.strategies:Flipper", "--set", "every=9")
    home = ("--home", tmp_path)
    with venue(speed=1.0) as server:
        live = ("live", "BTCUSDT", "--no-dashboard", *home)
        kill_after(command(server, *live, *strategy), 2.0)
        assert "was left" in flowtape("sessions", *home).stdout
        kill_after(command(server, *live, "--resume", "--sync", "batch"), 2.0)
        code, out = run_until(
            command(server, *live, "--resume"), "goes on behind input", 2.0, signal.SIGINT
        )
    assert code == 0
    (folder,) = (tmp_path / "sessions").iterdir()
    ids = recorded_ids(folder)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    digest = re.findall("session [0-9A-Z]{26} digest ([0-9a-f]{64})", out)
    for words in (("verify", "last", "--deep"), ("replay", "last", "--no-dashboard")):
        again = flowtape(*words, *home)
        assert again.returncode == 0, again.stderr
        assert digest[0] in again.stdout
    refused = flowtape("live", "BTCUSDT", "--sync", "2s", *home)
    assert refused.stderr == "flowtape: --sync must be none, 1s or batch, was 2s\n"
    refused = flowtape("live", "BTCUSDT", "--resume", "--no-dashboard", *home)
    assert refused.returncode == 2
    assert "no live session of spot/BTCUSDT below" in refused.stderr


def test_a_killed_recording_goes_on_by_id(tmp_path: Path) -> None:
    with venue(speed=1.0) as server:
        record = ("record", "BTCUSDT", "--out", tmp_path)
        kill_after(command(server, *record), 1.5)
        done = subprocess.run(
            command(server, *record, "--resume", "--for", "2s"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    ids = recorded_ids(folder)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert Session.open(folder).ended
    assert flowtape("verify", folder).returncode == 0


@pytest.mark.parametrize(
    ("symbol", "urls", "text"),
    [
        ("NOSUCHUSDT", None, "NOSUCHUSDT"),
        ("BTCUSDT", ("ws://127.0.0.1:9", "http://127.0.0.1:9"), "127.0.0.1:9"),
    ],
)
def test_what_cannot_be_reached_is_said_in_one_line(
    tmp_path: Path, symbol: str, urls: tuple[str, str] | None, text: str
) -> None:
    with venue(speed=1.0) as server:
        words = command(server, "record", symbol, "--for", "2s", "--out", tmp_path)
        if urls is not None:
            words[-3], words[-1] = urls
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("flowtape: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("off_us", [None, 0, 999_999, -1_000_000])
def test_a_clock_that_is_right_is_not_told_of(off_us: int | None) -> None:
    assert clock_words(off_us) is None


def test_a_clock_that_is_off_is_told_of_in_one_line() -> None:
    for off_us, said in ((7_200_000_000, "2:00:00 ahead of"), (-1_500_000, "0:00:01 behind")):
        words = clock_words(off_us)
        assert words is not None
        assert words.startswith(f"this machine's clock is {said} Binance's; ")
        assert "\n" not in words
