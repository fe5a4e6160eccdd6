"""The verifier that knows nothing of flowtape agrees with the real one, and finds changes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowtape.replay.demo_tape import DEMO_SYMBOL, demo_store
from flowtape.replay.sessions import Range, genesis_of
from flowtape.replay.summary import summary_of
from flowtape.replay.tapes import Tape
from flowtape.replay.track import fold
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.session import Session, SessionWriter
from tests.replay.test_sessions import NOW, Slow

SCRIPT = Path(__file__).parents[2] / "docs" / "verify_session.py"


def check(folder: Path, *groups: list[Path]) -> subprocess.CompletedProcess[str]:
    words: list[str] = []
    for group in groups:
        words += [*(["--"] if words else []), *map(str, group)]
    command = [sys.executable, "-I", str(SCRIPT), str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def files_of(tape: Tape) -> list[Path]:
    return [part.path for part in tape.parts]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    tape = demo_store().open(DEMO_SYMBOL, None, None)
    genesis = genesis_of([Range(tape)], EngineConfig(), Slow(), None)
    root = tmp_path_factory.mktemp("sessions")
    writer = SessionWriter.create(root, genesis, NOW, places=("demo",), sync="none")
    engine = Engine(
        tape.instrument, genesis.config, Slow(), shown=False, recorded=(writer.chain, writer)
    )
    first = tape.columns().slice(0, 1)
    engine.orders.buy(5, int(first.price_ticks[0]))
    fold(engine, tape.read_batches(cached=True))
    writer.finish(summary_of(engine, writer.chain.value))
    return Session.open(writer.folder)


def test_it_agrees_with_the_engine(session: Session) -> None:
    assert session.summary is not None
    said = check(session.folder, files_of(demo_store().open(DEMO_SYMBOL)))
    assert said.returncode == 0, said.stderr
    assert f"digest {session.summary.digest}" in said.stdout
    assert f"{session.summary.input_count:,} inputs and {len(session.commands()):,}" in said.stdout


def test_it_finds_another_genesis_and_other_trades(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / session.id
    shutil.copytree(session.folder, folder)
    made = json.loads((folder / "genesis.json").read_text())
    made["genesis"]["config"]["seed"] = 7
    (folder / "genesis.json").write_text(json.dumps(made))
    files = files_of(demo_store().open(DEMO_SYMBOL))
    said = check(folder, files)
    assert said.returncode == 1
    assert "block 0 (inputs 1 to 65,536) differs" in said.stderr
    assert "has 640,000 trades here, the session 320,000" in check(folder, files * 2).stderr
