"""The command line in this process, with a home of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flowtape.cli.main import main
from tests.archives import write_spot_archive

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


@pytest.fixture
def imported(run: Run, tmp_path: Path) -> Run:
    write_spot_archive(tmp_path / ARCHIVE, rows=30_000)
    code, _, err = run("import", tmp_path / ARCHIVE, "--symbol", "btcusdt", "--market", "spot")
    assert code == 0, err
    return run
