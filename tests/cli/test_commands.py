"""The command line as a person meets it: output, exit codes, messages."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import spot_lines, write_spot_archive

Run = Callable[..., tuple[int, str, str]]
STRATEGY = "examples/delta_divergence.py:DeltaDivergence"


def test_import_doctor_tapes_replay_backtest_agree(imported: Run, tmp_path: Path) -> None:
    assert imported("doctor", "BTCUSDT")[0] == 0
    code, out, _ = imported("tapes", "--json")
    assert code == 0
    assert "BTCUSDT" in out
    out_dir = tmp_path / "report"
    code, out, err = imported(
        "backtest", "BTCUSDT", "--strategy", STRATEGY, "--set", "span_s=20", "--json",
        "--out", out_dir,
    )  # fmt: skip
    assert code == 0, err
    batch = json.loads(out)
    assert batch["fill_count"] > 5
    assert json.loads((out_dir / "metrics.json").read_text()) == batch
    assert {p.name for p in out_dir.iterdir()} == {
        "report.html", "metrics.json", "equity.csv", "fills.csv"
    }  # fmt: skip
    fills = (out_dir / "fills.csv").read_text().splitlines()
    assert sum(",base," in line for line in fills) == batch["fill_count"]
    assert {line.split(",")[2] for line in fills[1:]} == {"optimistic", "base", "pessimistic"}
    page = (out_dir / "report.html").read_text()
    assert batch["digest"] in page
    assert "DeltaDivergence on BTCUSDT" in page
    for speed in ("max", "10000"):
        code, out, err = imported(
            "replay", "BTCUSDT", "--speed", speed, "--no-dashboard", "--json",
            "--strategy", STRATEGY, "--set", "span_s=20",
        )  # fmt: skip
        assert code == 0, err
        replayed = json.loads(out)
        replayed.pop("wall_s")
        assert replayed == batch


def test_isolated_margin_without_a_mark_price_says_what_it_does_without(
    imported: Run, tmp_path: Path
) -> None:
    words = ("--strategy", STRATEGY, "--set", "span_s=20", "--account", "isolated")
    code, out, err = imported("backtest", "BTCUSDT", *words, "--out", tmp_path / "out")
    assert code == 0, err
    assert "liquidation and funding disabled: no mark price" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "liquidation and funding disabled: no mark price" in page


PAIR = "examples/pair_reversion.py:PairReversion"


def test_a_strategy_trades_several_tapes_with_one_account(imported: Run, tmp_path: Path) -> None:
    write_spot_archive(tmp_path / "ETHUSDT-aggTrades-2026-01-01.zip", rows=20_000, seed=3)
    archive = tmp_path / "ETHUSDT-aggTrades-2026-01-01.zip"
    assert imported("import", archive, "--symbol", "ETHUSDT", "--market", "spot")[0] == 0
    both = ("BTCUSDT", "ETHUSDT", "--strategy", PAIR, "--set", "span=30", "--json")
    code, out, err = imported("backtest", *both, "--out", tmp_path / "pair", "--latency", "5ms")
    assert code == 0, err
    batch = json.loads(out)
    assert batch["symbol"] == "BTCUSDT+ETHUSDT"
    assert batch["trade_count"] == 50_000
    header, *fills = (tmp_path / "pair" / "fills.csv").read_text().splitlines()
    assert header.endswith(",fee,symbol")
    assert {line.split(",")[-1] for line in fills} == {"BTCUSDT", "ETHUSDT"}
    assert (tmp_path / "pair" / "equity.csv").read_text().startswith("ts_us,equity,position,mark,")
    page = (tmp_path / "pair" / "report.html").read_text()
    assert "PairReversion on BTCUSDT, ETHUSDT" in page
    assert "ETHUSDT and fills" in page
    code, out, err = imported("replay", *both, "--no-dashboard", "--speed", "max", "--latency=5ms")
    assert code == 0, err
    replayed = json.loads(out)
    assert replayed.pop("wall_s") > 0
    assert replayed == batch

    code, _, err = imported("backtest", "BTCUSDT", "BTCUSDT", "--strategy", PAIR)
    assert code == 2
    assert "spot/BTCUSDT was named twice; name each tape once" in err
    code, _, err = imported("backtest", "BTCUSDT", "--strategy", PAIR)
    assert code == 2
    assert "it trades two instruments, was given 1" in err


def test_equal_backtests_write_equal_files(tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        command = [
            sys.executable, "-m", "flowtape.cli.main", "backtest", "demo", "--strategy", STRATEGY,
            "--to", "2026-01-01T12:20", "--out", str(tmp_path / name),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        written.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert written[0] == written[1]


def test_replay_without_the_cache_is_the_same(imported: Run) -> None:
    found = []
    for option in ("--cache", "--no-cache"):
        code, out, _ = imported(
            "replay", "BTCUSDT", "--speed", "max", "--no-dashboard", "--json", option
        )
        assert code == 0
        found.append(json.loads(out)["digest"])
    assert found[0] == found[1]


def test_a_part_of_a_tape(imported: Run) -> None:
    code, out, _ = imported(
        "replay", "BTCUSDT", "--speed", "max", "--no-dashboard", "--json",
        "--from", "2026-01-01T00:05", "--to", "2026-01-01T00:06",
    )  # fmt: skip
    assert code == 0
    played = json.loads(out)
    assert 0 < played["trade_count"] < 30_000
    assert played["start_us"] >= 1_767_225_900_000_000
    assert played["end_us"] < 1_767_225_960_000_000


def test_several_tapes(imported: Run, tmp_path: Path) -> None:
    write_spot_archive(tmp_path / "ETHUSDT-aggTrades-2026-01-01.zip", rows=5_000, seed=2)
    code, _, _ = imported(
        "import", tmp_path / "ETHUSDT-aggTrades-2026-01-01.zip", "--symbol", "ETHUSDT",
        "--market", "spot",
    )  # fmt: skip
    assert code == 0
    code, out, _ = imported(
        "replay", "BTCUSDT", "ETHUSDT", "--speed", "max", "--no-dashboard", "--json"
    )
    assert code == 0
    assert [one["trade_count"] for one in json.loads(out)] == [30_000, 5_000]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["replay", "NOSUCH", "--no-dashboard"], "NOSUCH"),
        (["replay", "BTCUSDT", "--speed", "fast"], "speed must be 0.1 to 10000 or max, was 'fast'"),
        (["replay", "BTCUSDT", "--speed", "20000"], "speed must be 0.1 to 10000 or max, was 20000"),
        (["replay", "BTCUSDT", "--from", "noon"], "--from must be a UTC time"),
        (["replay", "BTCUSDT", "--set", "a=1", "--no-dashboard"], "--set needs --strategy"),
        (["replay", "BTCUSDT", "--latency", "soon"], "--latency must be a span"),
        (["backtest", "BTCUSDT", "--strategy", "nothing.py:X"], "there is no file nothing.py"),
        (["backtest", "BTCUSDT", "--strategy", STRATEGY, "--cash", "1e5"], "1e5"),
        (["live", "A", "B", "a"], "A was named twice; name each symbol once"),
        (["record", "BTCUSDT", "--market", "moon"], "moon"),
        (["record", "BTCUSDT", "--for", "ever"], "--for must be a span"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(imported: Run, words: list[str], text: str) -> None:
    code, out, err = imported(*words)
    assert code == 2
    assert text in err
    assert err.startswith("flowtape: ")
    assert err.count("\n") == 1
    assert out == ""
    assert "Traceback" not in err


def test_debug_shows_the_traceback(run: Run) -> None:
    code, _, err = run("replay", "NOSUCH", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_bad_import_writes_nothing(run: Run, tmp_path: Path) -> None:
    lines = spot_lines(100)
    lines[57] = lines[57].replace(".", ",", 1)
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(lines))
    code, _, err = run("import", bad, "--symbol", "BTCUSDT", "--market", "spot")
    assert code == 2
    assert "bad.csv" in err
    assert err.count("\n") == 1
    assert not list((tmp_path / "home").rglob("*.parquet"))


@pytest.mark.parametrize(
    "command", ["demo", "replay", "backtest", "import", "doctor", "tapes", "live", "record"]
)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: flowtape {command}" in " ".join(out.split())


def test_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("flowtape 0.")
