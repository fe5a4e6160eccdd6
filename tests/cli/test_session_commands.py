"""`--record`, `sessions` and `verify` as a person meets them."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import write_spot_archive

Run = Callable[..., tuple[int, str, str]]

STRATEGY = "examples/delta_divergence.py:DeltaDivergence"
PAIR = "examples/pair_reversion.py:PairReversion"
OUTSIDER = Path(__file__).parents[2] / "docs" / "verify_session.py"


@pytest.fixture
def keeping(imported: Run, tmp_path: Path) -> Run:
    """Import a tape and keep a session over it."""
    words = ("--strategy", STRATEGY, "--set", "span_s=20", "--out", tmp_path / "out")
    code, out, err = imported("backtest", "BTCUSDT", *words, "--record", "--label", "mine")
    assert code == 0, err
    assert re.search(r"^session \w{26} digest [0-9a-f]{64}$", out, re.MULTILINE)
    assert re.search(r"^check it with: flowtape verify \w{26}$", out, re.MULTILINE)
    return imported


def test_a_session_is_listed_and_verified(keeping: Run) -> None:
    code, out, _ = keeping("sessions")
    assert code == 0
    (line,) = out.splitlines()
    assert re.fullmatch(
        r"\w{26}  BTCUSDT  DeltaDivergence  2026-.* UTC to 2026-.* UTC  \d+ orders  "
        r"net P&L [-\d.,]+  [0-9a-f]{12}  mine",
        line,
    )
    (described,) = json.loads(keeping("sessions", "--json")[1])
    assert described["state"] == "ended"
    assert described["symbols"] == ["BTCUSDT"]
    for words in ((), ("--deep",), ("--matrix",), ("--structure",)):
        code, out, err = keeping("verify", "last", *words)
        assert code == 0, err
        said = "fits together" if words == ("--structure",) else "is the same"
        assert f"{said}: 30,001 inputs" in out
        assert f"digest {described['digest']}" in out
    code, out, _ = keeping("verify", described["id"][:8], "--json")
    assert code == 0
    verdict = json.loads(out)
    assert verdict["digest"] == described["digest"]
    assert verdict["gaps"] == []
    assert verdict["difference"] is None


def test_a_damaged_session_does_not_hide_the_others(keeping: Run, tmp_path: Path) -> None:
    damaged = tmp_path / "home" / "sessions" / ("0" * 26)
    damaged.mkdir()
    (damaged / "genesis.json").write_text("{}")
    code, out, err = keeping("sessions")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert f"flowtape: {damaged} cannot be read as a session" in err


def test_another_strategy_differs_and_says_where(keeping: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    text = Path(STRATEGY.partition(":")[0]).read_text()
    other.write_text(text.replace("orders.buy", "orders.sell"))
    code, out, err = keeping("verify", "last", "--deep", "--strategy", f"{other}:DeltaDivergence")
    assert code == 1
    assert re.match(r"session \w{26} differs: the strategy's command \d+ differs: recorded is", out)
    assert "the strategy's file has changed since the session was made" in err


def test_a_replay_is_kept_like_a_backtest(keeping: Run) -> None:
    words = ("--strategy", STRATEGY, "--set", "span_s=20", "--no-dashboard", "--speed", "10000")
    code, _, err = keeping("replay", "BTCUSDT", *words, "--record")
    assert code == 0, err
    first, second = json.loads(keeping("sessions", "--json")[1])
    assert first["digest"] == second["digest"]
    assert keeping("verify", "last")[0] == 0


def test_a_session_whose_tape_has_changed_cannot_be_read(keeping: Run, tmp_path: Path) -> None:
    code, _, err = keeping("verify", "last", "--tapes", tmp_path / "elsewhere")
    assert code == 2
    assert re.match(r"flowtape: the tape of session \w{26} is gone: ", err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "01ABC"), "there is no session 01ABC below"),
        (("verify", "last", "--strategy", STRATEGY), "--strategy is for --deep"),
        (
            ("verify", "last", "--structure", "--deep"),
            "--structure runs nothing; leave --deep and --matrix out",
        ),
        (
            ("replay", "BTCUSDT", "--trade", "--no-dashboard"),
            "--trade needs the dashboard, where the order ticket is",
        ),
        (
            ("replay", "BTCUSDT", "--resume"),
            "--resume goes on with one session; see: flowtape sessions",
        ),
        (
            ("replay", "BTCUSDT", "demo", "--record", "--no-dashboard"),
            "--record and --trade are for one session: name one tape, or give a --strategy",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(keeping: Run, words: tuple[str, ...], said: str) -> None:
    code, _, err = keeping(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_no_sessions_say_how_to_keep_one(run: Run) -> None:
    code, out, _ = run("sessions")
    assert code == 0
    assert "no sessions below" in out
    assert "--record" in out
    assert run("verify", "last")[0] == 2


def test_a_session_without_a_strategy_has_nothing_to_decide_again(imported: Run) -> None:
    code, _, err = imported("replay", "BTCUSDT", "--no-dashboard", "--speed", "max", "--record")
    assert code == 0, err
    assert imported("verify", "last")[0] == 0
    code, _, err = imported("verify", "last", "--deep")
    assert code == 2
    assert "ran no strategy; there is nothing to decide again" in err


def test_a_backtest_of_a_session_is_the_session(keeping: Run, tmp_path: Path) -> None:
    (described,) = json.loads(keeping("sessions", "--json")[1])
    code, out, err = keeping("backtest", described["id"], "--out", tmp_path / "again")
    assert code == 0, err
    assert f"digest {described['digest']}: the same as when it was kept" in out
    for name in ("fills.csv", "equity.csv", "metrics.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / "out" / name).read_bytes(), name
    assert keeping("backtest", "last", "--json", "--out", tmp_path / "json")[0] == 0
    code, _, err = keeping("backtest", "last", "--latency", "5ms")
    assert code == 2
    assert "a session has its own settings; leave --latency out" in err
    code, _, err = keeping("backtest", "BTCUSDT")
    assert code == 2
    assert "backtest needs --strategy MODULE:CLASS, or the id of a session" in err


def test_an_outsider_checks_a_session_over_two_tapes(imported: Run, tmp_path: Path) -> None:
    archive = tmp_path / "ETHUSDT-aggTrades-2026-01-01.zip"
    write_spot_archive(archive, rows=20_000, seed=3)
    assert imported("import", archive, "--symbol", "ETHUSDT", "--market", "spot")[0] == 0
    words = ("BTCUSDT", "ETHUSDT", "--strategy", PAIR, "--set", "span=30", "--record")
    code, out, err = imported("backtest", *words, "--out", tmp_path / "pair")
    assert code == 0, err
    found = re.search(r"session (\w{26}) digest ([0-9a-f]{64})", out)
    assert found is not None
    tapes = tmp_path / "home" / "tapes"
    one, two = (sorted(tapes.glob(f"**/symbol={s}/**/*.parquet")) for s in ("BTCUSDT", "ETHUSDT"))
    command = [sys.executable, "-I", OUTSIDER, tmp_path / "home" / "sessions" / found[1]]
    said = subprocess.run(
        [*map(str, [*command, *one]), "--", *map(str, two)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    assert f"digest {found[2]}" in said.stdout
