"""Wrong input: one line that says what, where and what to do; exit code 2; nothing written."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.archives import spot_lines

Run = Callable[..., tuple[int, str, str]]
STRATEGY = "examples/delta_divergence.py:DeltaDivergence"

STRATEGIES = """
import threading
from dataclasses import dataclass
from typing import ClassVar
from flowtape.stream.config import Decide
from flowtape.stream.strategy import Strategy

@dataclass
class Base(Strategy):
    decide: ClassVar[Decide] = Decide(trades_count=100)
    size: int = 1
    name: "str | None" = None
    share: float = 0.5
    def on_decision(self, market, orders): pass

class Raises(Base):
    def on_decision(self, market, orders): raise ValueError("two\\nlines")

class RaisesAtStart(Base):
    def on_start(self, market): raise KeyError("nothing")

class Exits(Base):
    def on_decision(self, market, orders): raise SystemExit(3)

class Sized(Base):
    def on_decision(self, market, orders): orders.buy(self.size)

class CancelsAnything(Base):
    def on_decision(self, market, orders):
        for order_id in range(900, 1000): orders.cancel(order_id)

class OffGrid(Base):
    def on_decision(self, market, orders): market.lots("0.123456789")

class Holds(Base):
    def on_start(self, market): self.lock = threading.Lock()

@dataclass
class Trader(Strategy):
    decide: ClassVar[Decide] = Decide(trades_count=500)
    def on_decision(self, market, orders):
        orders.sell(2000) if market.position_lots > 0 else orders.buy(2000)
"""


@pytest.fixture
def strategies(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(STRATEGIES)
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
    return path


def one_line(run: Run, *words: str | Path) -> str:
    """Run a command that fails; return what it says."""
    code, out, err = run(*words)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("flowtape: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "should not have happened" not in err
    return err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["bogus"], "no such command 'bogus'; see flowtape --help"),
        (["tapes", "--bogus"], "no such option: --bogus; see flowtape tapes --help"),
        (["import"], "missing argument 'FILE'; see flowtape import --help"),
        (["import", "a"], "missing option '--symbol'; see flowtape import --help"),
        (["replay", "BTCUSDT", "--port", "99999"], "'--port'"),
        (["replay", "BTCUSDT", "--taker-fee-ppm", "x"], "'--taker-fee-ppm'"),
        (["replay", "BTCUSDT", "--maker-fee-ppm", "-2000000"], "'--maker-fee-ppm'"),
        (["replay", "BTCUSDT", "--cash", "-5"], "--cash must be more than 0, was -5"),
        (["replay", "BTCUSDT", "--cash", "9" * 20], "--cash: '99999999999999999999' is not"),
        (["replay", "BTCUSDT", "--latency", "99999999h"], "--latency must be at most a year"),
        (["replay", "BTCUSDT", "--speed", "0"], "speed must be 0.1 to 10000 or max, was 0"),
        (["replay", "BTCUSDT", "--from", ""], "--from must be a UTC time"),
        (["record", "BTCUSDT", "--for", ""], "--for must be a span"),
        (
            ["replay", "BTCUSDT", "--from", "2026-01-01T02", "--to", "2026-01-01T01"],
            "--from 2026-01-01T02 is not before --to 2026-01-01T01",
        ),
        (["replay", "BTCUSDT", "--from", "2027-01-01"], "no trades in that range; it spans 2026"),
        (["replay", "no/such.csv"], "there is no file no/such.csv"),
        (["live", "BTCUSDT", "--set", "a=1"], "--set needs --strategy"),
    ],
)
def test_flags(imported: Run, words: list[str], text: str) -> None:
    assert text in one_line(imported, *words)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("mine.py:Raises", [], r"strategy Raises failed at stream time 2026-01-01T00:00:0"),
        ("mine.py:Raises", [], "Z: ValueError: two lines"),
        ("mine.py:RaisesAtStart", [], "RaisesAtStart failed at its start: KeyError: 'nothing'"),
        ("mine.py:Exits", [], "SystemExit: 3"),
        ("mine.py:Sized", ["size=0"], "a quantity is not between 1 and"),
        ("mine.py:Sized", ["size=-7"], "strategy Sized failed at stream time"),
        ("mine.py:Sized", ["size=1" + "0" * 30], "out of range"),
        ("mine.py:CancelsAnything", [], "CancelsAnything failed at stream time"),
        ("mine.py:OffGrid", [], "0.123456789 has more than 5 decimals"),
        ("mine.py:Base", ["size=1.5"], "parameter size must be int, was '1.5'"),
        ("mine.py:Base", ["size=1", "size=2"], "--set gives size twice"),
        ("mine.py:Base", ["share=nan"], "parameter share must be float, was 'nan'"),
        ("mine.py:Base", ["name=x"], "--set knows int, float, str and bool"),
        ("broken.py:X", [], "cannot be imported: SyntaxError"),
        ("leaves.py:X", [], "cannot be imported: SystemExit"),
    ],
)
def test_strategies(
    imported: Run, strategies: Path, name: str, settings: list[str], text: str
) -> None:
    given = [word for setting in settings for word in ("--set", setting)]
    out = strategies.parent / "out"
    said = one_line(
        imported, "backtest", "BTCUSDT", "--strategy", strategies.parent / name, *given,
        "--out", out,
    )  # fmt: skip
    assert text in said
    assert not out.exists()


def test_a_strategy_that_cannot_be_copied_is_named(imported: Run, strategies: Path) -> None:
    said = one_line(
        imported, "replay", "BTCUSDT", "--strategy", f"{strategies}:Holds", "--no-dashboard"
    )
    assert "strategy Holds cannot be copied" in said


def test_results_go_nowhere_or_whole(imported: Run, strategies: Path, tmp_path: Path) -> None:
    words = ("backtest", "BTCUSDT", "--strategy", f"{strategies}:Trader", "--out")
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "sub", Path("/proc/x")):
        assert f"cannot write the results to {out}" in one_line(imported, *words, out)
    assert (tmp_path / "file").read_text() == "mine"
    found = []
    for out in (tmp_path / "a", tmp_path / "b"):
        code, _, err = imported(*words, out)
        assert code == 0, err
        # Bokeh gives the elements of a page new names each time.
        found.append({p.name: p.read_bytes() for p in out.iterdir() if p.suffix != ".html"})
    assert found[0] == found[1]
    assert len(found[0]["fills.csv"].splitlines()) > 10
    assert not list(tmp_path.glob(".*"))


def test_one_is_said_as_one(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(spot_lines(1)))
    code, out, err = run("import", path, "--symbol", "X", "--market", "spot")
    assert code == 0, err
    assert "spot/X: 1 new trade on 1 day, in " in out
    assert f"{path}: 1 row, nothing wrong" in out
    assert run("doctor", "X")[1] == "spot/X: 1 trade on 1 day, nothing wrong\n"
    assert run("tapes")[1] == "spot/X  1 trade  2026-01-01  1 day  0.1 MB  whole\n"
    code, out, _ = run("replay", "X", "--speed", "max", "--no-dashboard")
    assert out.startswith("X: 1 trade\ndigest ")


def test_tapes_stand_in_columns(imported: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(line for i, line in enumerate(spot_lines(9)) if i not in (3, 4, 6)))
    imported("import", path, "--symbol", "币安人生USDT", "--market", "spot")
    assert imported("tapes")[1].splitlines() == [
        "spot/BTCUSDT       30,000 trades  2026-01-01  1 day  0.2 MB  whole",
        "spot/币安人生USDT       6 trades  2026-01-01  1 day  0.1 MB  3 ids missing in 2 holes",
    ]


def test_tapes_that_are_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("x")
    backtest = ["backtest", "X", "--strategy", STRATEGY]
    for words in (["tapes"], ["replay", "X"], ["doctor", "X"], backtest):
        said = one_line(run, *words, "--tapes", tmp_path / "t")
        assert "t is a file, not a folder of tapes" in said


def test_a_file_of_trades_is_not_called_a_damaged_tape(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(spot_lines(5)))
    said = one_line(run, "replay", path)
    assert "a.csv is no tape; make one of it with `flowtape import`" in said


def test_a_tape_of_a_newer_schema(imported: Run, tmp_path: Path) -> None:
    (part,) = (tmp_path / "home").rglob("part-*.parquet")
    stored = pq.read_metadata(part).metadata
    stored[b"flowtape.schema_version"] = b"2"
    pq.write_table(pq.read_table(part).replace_schema_metadata(stored), part)
    for words in (["replay"], ["backtest", "--strategy", STRATEGY]):
        said = one_line(imported, words[0], "BTCUSDT", *words[1:])
        assert "has tape schema 2, this flowtape reads up to 1: upgrade flowtape" in said
    code, out, _ = imported("doctor", "BTCUSDT")
    assert (code, out.startswith("spot/BTCUSDT: ")) == (2, True)
    code, out, _ = imported("tapes")
    assert "spot/BTCUSDT  " in out
    assert "upgrade flowtape" in out


def test_a_damaged_fast_copy_is_named_with_its_cure(imported: Run, tmp_path: Path) -> None:
    words = ("replay", "BTCUSDT", "--speed", "max", "--no-dashboard")
    assert imported(*words)[0] == 0
    (copy,) = (tmp_path / "home").rglob("*.arrow")
    raw = bytearray(copy.read_bytes())
    middle = len(raw) // 2 // 8 * 8
    raw[middle : middle + 8] = bytes(8)
    copy.write_bytes(raw)
    said = one_line(imported, *words)
    assert "put it right with: flowtape doctor BTCUSDT --repair" in said
    assert imported("doctor", "BTCUSDT", "--repair")[0] == 0
    assert imported(*words)[0] == 0


def test_repair_of_one_tape_does_not_stumble_over_another(imported: Run, tmp_path: Path) -> None:
    root = tmp_path / "home" / "tapes" / "venue=binance" / "market=spot"
    shutil.copytree(root / "symbol=BTCUSDT", root / "symbol=ETHUSDT")
    code, out, _ = imported("doctor", "ETHUSDT")
    assert code == 2
    assert out.startswith("spot/ETHUSDT: ")
    assert "does not belong into symbol=ETHUSDT" in out
    assert imported("doctor", "BTCUSDT", "--repair")[0] == 0


def test_an_unforeseen_error_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a\nb")

    monkeypatch.setattr("flowtape.replay.doctor.summarize", fail)
    code, _, err = run("tapes")
    assert code == 2
    assert err == (
        "flowtape: this should not have happened: RuntimeError: a b; --debug shows where\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_import_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    home = tmp_path / "home"
    env = {**os.environ, "FLOWTAPE_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    path = tmp_path / "a.csv"
    path.write_text("\n".join(spot_lines(20)))
    slow = (
        "import signal\n"
        "from flowtape.replay import importer\n"
        "from flowtape.cli.main import main\n"
        "def read(*args, **kw):\n"
        "    print('reading', flush=True)\n"
        "    while True: signal.pause()\n"
        "importer.read_file = read\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "import", path, "--symbol", "X", "--market", "spot"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert err.split("\n")[-2:] == ["flowtape: stopped", ""]
    assert "Traceback" not in err
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_two_changes_of_one_tape_at_once(imported: Run, tmp_path: Path) -> None:
    from flowtape.replay.tapes import TapeStore  # noqa: PLC0415
    from flowtape.replay.transaction import TapeTransaction  # noqa: PLC0415

    store = TapeStore(tmp_path / "home" / "tapes")
    path = tmp_path / "a.csv"
    path.write_text("\n".join(spot_lines(5)))
    with TapeTransaction(store.root, store.tapes()[0].instrument):
        said = one_line(imported, "import", path, "--symbol", "BTCUSDT", "--market", "spot")
        assert "another import into spot/BTCUSDT is running" in said
        code, out, _ = imported("replay", "BTCUSDT", "--speed", "max", "--no-dashboard", "--json")
        assert (code, json.loads(out)["trade_count"]) == (0, 30_000)
        other = imported("import", path, "--symbol", "OTHER", "--market", "spot")
        assert other[0] == 0
