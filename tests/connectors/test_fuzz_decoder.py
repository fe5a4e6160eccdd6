"""The decoder against bytes that a fuzzer makes of frames, rows and answers."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this platform"
)

QUICK_RUNS, DEEP_RUNS = 20_000, 2_000_000


def fuzz(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.connectors.fuzz_decoder", str(folder / "corpus")]
    root = Path(__file__).parents[2]
    return subprocess.run(
        [*command, *words], cwd=root, capture_output=True, text=True, check=False, timeout=3_000
    )


def test_whatever_comes_is_read_or_refused(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "-seed=1", f"-runs={QUICK_RUNS}")
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"Done {QUICK_RUNS} runs" in done.stderr


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "-seed=1", f"-runs={QUICK_RUNS}", "--planted")
    assert done.returncode != 0
    assert "several trades" in done.stdout + done.stderr


@pytest.mark.deep
@pytest.mark.timeout(3_100)
@pytest.mark.parametrize("seed", [2, 3])
def test_long_runs(seed: int, tmp_path: Path) -> None:
    done = fuzz(tmp_path, f"-seed={seed}", f"-runs={DEEP_RUNS}")
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"Done {DEEP_RUNS} runs" in done.stderr
