"""Sessions replayed, gone on with, branched from, exported and handed on, as a person does it."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.archives import write_spot_archive

Run = Callable[..., tuple[int, str, str]]

STRATEGY = "examples/delta_divergence.py:DeltaDivergence"
TRADING = ("--strategy", STRATEGY, "--set", "span_s=20")
UNSEEN = ("--no-dashboard", "--speed", "max")
ROWS = 12_000


@pytest.fixture
def small(run: Run, tmp_path: Path) -> Run:
    """A small tape."""
    write_spot_archive(tmp_path / "a.zip", rows=ROWS)
    code, _, err = run("import", tmp_path / "a.zip", "--symbol", "btcusdt", "--market", "spot")
    assert code == 0, err
    return run


@pytest.fixture
def kept(small: Run) -> Run:
    """A session over it."""
    code, _, err = small("replay", "BTCUSDT", *TRADING, "--record", *UNSEEN)
    assert code == 0, err
    return small


def digest_of(text: str) -> str:
    (found,) = set(re.findall(r"session \w{26} digest ([0-9a-f]{64})", text))
    return str(found)


def ids(run: Run) -> list[str]:
    return [line.split()[0] for line in run("sessions")[1].splitlines()]


def test_one_digest_at_any_speed_and_in_batch(kept: Run, tmp_path: Path) -> None:
    (name,) = ids(kept)
    found = set()
    for words in (
        ("replay", "last", *UNSEEN),
        ("replay", name, "--no-dashboard", "--speed", "10000"),
        ("backtest", "last", "--out", tmp_path / "out"),
    ):
        code, out, err = kept(*words)
        assert code == 0, err
        assert "the same as when it was kept" in out
        found.add(digest_of(out))
    assert found == {kept("verify", "last")[1].split("digest ")[1].strip()}


def test_a_killed_replay_goes_on_to_the_same_digest(kept: Run, tmp_path: Path) -> None:
    whole = digest_of(kept("replay", "last", *UNSEEN)[1])
    command = [sys.executable, "-m", "flowtape.cli.main"]
    words = [*command, "replay", "BTCUSDT", *TRADING, "--record", "--no-dashboard"]
    home = {**os.environ, "FLOWTAPE_HOME": str(tmp_path / "home")}
    process = subprocess.Popen([*words, "--speed", "200"], env=home, stdout=subprocess.DEVNULL)
    try:
        checkpoints = tmp_path / "home" / "sessions"
        end_s = time.monotonic() + 60
        while len(list(checkpoints.glob("*/checkpoints/*.json"))) < 2:
            assert time.monotonic() < end_s
            time.sleep(0.05)
        time.sleep(0.3)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert "was left" in kept("sessions")[1].splitlines()[-1]
    code, _, err = kept("replay", "last", *UNSEEN)
    assert code == 0
    assert "has not ended; replaying as far as it goes" in err
    code, out, err = kept("replay", "last", "--resume", *UNSEEN)
    assert code == 0, err
    begun = re.search(r"goes on behind input ([\d,]+)$", out, re.MULTILINE)
    assert begun is not None
    assert 0 < int(begun[1].replace(",", "")) < ROWS
    assert digest_of(out) == whole
    assert kept("verify", "last", "--deep")[0] == 0
    code, _, err = kept("replay", "last", "--resume", *UNSEEN)
    assert code == 2
    assert "has ended; there is nothing to go on with" in err


def test_a_branch_is_a_session_that_names_its_parent(kept: Run) -> None:
    (parent,) = ids(kept)
    code, out, err = kept("branch", "last", "--at", "2026-01-01T00:05", "--no-strategy")
    assert code == 0, err
    assert re.search(rf"session \w{{26}} leaves {parent} behind input [\d,]+", out)
    before, now = (
        int(re.findall(rf"^{word} +(\d+) orders", out, re.MULTILINE)[0])
        for word in ("before", "now")
    )
    assert 0 <= now < before
    assert kept("verify", "last")[0] == 0
    code, out, err = kept("branch", parent, "--at", "2026-01-01T00:05")
    assert code == 0, err
    assert kept("verify", "last", "--deep")[0] == 0
    code, out, err = kept(
        *("branch", parent, "--at", "2026-01-01T00:05", "--strategy", STRATEGY),
        *("--set", "span_s=30", "--label", "slower"),
    )
    assert code == 0, err
    assert kept("verify", "last", "--deep")[0] == 0
    assert len(ids(kept)) == 4
    code, _, err = kept("prune", parent, "--yes")
    assert code == 2
    assert "branch" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("branch", "last"), "say where it goes another way: --at TIME or --without ORDER"),
        (("branch", "last", "--at", "2027-01-01"), "ends before that time"),
        (("branch", "last", "--without", "9999"), "has no order 9999"),
        (("branch", "last", "--without", "1"), "was the strategy's, which would place it again"),
        (
            ("branch", "last", "--at", "2026-01-01", "--no-strategy", "--strategy", STRATEGY),
            "--no-strategy cannot go with --strategy or --set",
        ),
        (("replay", "last", "--cash", "5", *UNSEEN), "has its own settings; leave --cash out"),
        (("replay", "last", "--trade"), "to trade on it: flowtape branch --trade"),
        (("replay", "BTCUSDT", "--retain", "3d", *UNSEEN), "--retain goes with --record"),
        (("export", "last", "--out", "/proc/nothing/x.parquet"), "cannot write"),
        (("unpack", "pyproject.toml"), "cannot be read as a bundle"),
    ],
)
def test_mistakes_are_told_in_one_line(kept: Run, words: tuple[str, ...], said: str) -> None:
    code, _, err = kept(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert len(ids(kept)) == 1


def test_it_is_exported_for_other_tools(kept: Run, tmp_path: Path) -> None:
    code, out, err = kept("export", "last", "--out", tmp_path / "x.parquet")
    assert code == 0, err
    assert out == f"{ROWS:,} trades written to {tmp_path / 'x.parquet'}\n"
    assert len(pq.read_table(tmp_path / "x.parquet")) == ROWS
    code, out, err = kept("export", "last", "--out", tmp_path / "all")
    assert code == 0, err
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert names == {
        *("trades.parquet", "fills.csv", "fills.parquet", "orders.csv", "orders.parquet"),
        *("equity.csv", "equity.parquet"),
    }
    kept("backtest", "last", "--out", tmp_path / "out")
    for name in ("fills.csv", "equity.csv"):
        assert (tmp_path / "all" / name).read_text() == (tmp_path / "out" / name).read_text()
    with (tmp_path / "all" / "orders.csv").open() as file:
        assert {row["origin"] for row in csv.DictReader(file)} == {"strategy"}


def test_a_bundle_reproduces_the_result_elsewhere(
    kept: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = digest_of(kept("replay", "last", *UNSEEN)[1])
    assert kept("export", "last", "--out", tmp_path / "b.zip")[0] == 0
    monkeypatch.setenv("FLOWTAPE_HOME", str(tmp_path / "another"))
    for words in ((), ("--deep",)):
        code, out, err = kept("verify", tmp_path / "b.zip", *words)
        assert code == 0, err
        assert f"digest {digest}" in out
    assert ids(kept) == ["no"]
    assert kept("unpack", tmp_path / "b.zip")[0] == 0
    code, out, err = kept("backtest", "last", "--out", tmp_path / "again")
    assert code == 0
    assert digest_of(out) == digest
    assert "running the strategy that came with the session: delta_divergence.py" in err


def test_old_sessions_make_room(kept: Run) -> None:
    first = ids(kept)
    code, _, err = kept("replay", "BTCUSDT", *TRADING, "--record", "--retain", "1KB", *UNSEEN)
    assert code == 0, err
    assert f"deleted session {first[0]}, as --retain 1KB asks" in err
    assert len(ids(kept)) == 1
    assert ids(kept) != first
