"""What README.md and docs/ show runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.archives import write_spot_archive
from tests.cli.command_line import flowtape

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks/README.md"]

# These follow a live market or stay open until stopped; their own tests run them against a venue.
NOT_HERE = (
    *("flowtape live", "flowtape record", "flowtape replay BTCUSDT --speed 100"),
    *("flowtape replay last", "flowtape fetch", "flowtape serve"),
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def run_python(source: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_readme_python_runs() -> None:
    (source,) = blocks(ROOT / "README.md", "python")
    net_pnl, digest = run_python(source).split()
    assert float(net_pnl)
    assert len(digest) == 64


# A part of the demo tape twice, under two names.
TWO_TAPES = """
from dataclasses import replace
from examples.pair_reversion import PairReversion
from flowtape.replay.demo_tape import DEMO_SYMBOL, demo_store

until_us = 1_767_270_600_000_000  # its first half hour
first, second = (demo_store().open(DEMO_SYMBOL, None, until_us) for _ in range(2))
second.instrument = replace(second.instrument, symbol="OTHERUSDT")
strategy = PairReversion(span=2, enter=-1.0)
print(backtest_pair(first, second, strategy))
"""


def test_strategy_guide_runs() -> None:
    strategy, pair, ticks = blocks(ROOT / "docs/STRATEGIES.md", "python")
    fill_count, net_pnl = run_python(strategy).split()
    assert int(fill_count) > 0
    assert float(net_pnl)
    assert run_python(ticks).startswith("9999")
    assert float(run_python(pair + TWO_TAPES))


def test_signals_guide_runs() -> None:
    (source,) = blocks(ROOT / "docs/SIGNALS.md", "python")
    net_pnl, best = run_python(source).split()
    assert float(net_pnl) < float(best)


def test_order_flow_guide_runs() -> None:
    (source,) = blocks(ROOT / "docs/ORDERFLOW.md", "python")
    bars, _, rows, _, _, marks, _ = run_python(source).replace(",", "").split()
    assert int(bars) > 100
    assert int(rows) > int(bars)
    assert int(marks) > 0


def test_readme_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWTAPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_spot_archive(tmp_path / "BTCUSDT-aggTrades-2026-01-01.zip", rows=20_000)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("flowtape ")]
    assert len(commands) >= 7
    for command in commands:
        if command.startswith(NOT_HERE):
            continue
        result = flowtape(*shlex.split(command)[1:])
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
