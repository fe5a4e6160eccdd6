"""The command line in this process, with a home of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flowtape.cli.main import main
from tests.archives import write_spot_archive
from tests.cli.command_line import flowtape

ARCHIVE = "BTCUSDT-aggTrades-2026-01-01.zip"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("FLOWTAPE_HOME", str(tmp_path / "home"))

    def call(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def imported_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tape, beside the archive that it came from; others work on copies of it."""
    root = tmp_path_factory.mktemp("imported")
    write_spot_archive(root / ARCHIVE, rows=30_000)
    words = ("import", root / ARCHIVE, "--symbol", "btcusdt", "--market", "spot")
    done = flowtape(*words, "--tapes", root / "home" / "tapes")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def imported(run: Run, tmp_path: Path, imported_home: Path) -> Run:
    shutil.copytree(imported_home, tmp_path, dirs_exist_ok=True)
    return run
