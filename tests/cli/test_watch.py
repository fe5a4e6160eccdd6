"""`flowtape watch` beside `live` and `record`, each a process of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from flowtape.cli.watch_keeping import left_watching, note_watched
from flowtape.replay.session_store import SessionStore
from flowtape.stream.errors import InputError
from flowtape.stream.session import Session
from tests.cli.conftest import Run
from tests.cli.test_live import command, flowtape, venue

URL = 'flowtape watch "(ws://127.0.0.1:.*/[?]token=.*)"$'
TOKEN = "the-token-of-a-test"


@contextmanager
def started(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a command; it is killed in the end if it still runs."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def next_line(process: subprocess.Popen[str], said: str) -> str:
    """Wait for the next line of a command, which has something in it."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert said in line, line
    return line


def watch(url: str, *words: str | Path) -> list[str]:
    return [sys.executable, "-u", "-m", "flowtape.cli.main", "watch", url, *map(str, words)]


def finished(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 0, out
    return out


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, text
    return match[1]


def test_watchers_come_to_what_the_session_comes_to(tmp_path: Path) -> None:
    with venue(speed=1.0) as server:
        live = command(
            server, "live", "BTCUSDT", "--no-dashboard", "--home", tmp_path / "a", "--hub", "0"
        )
        with started(live) as session:
            url = found(URL, next_line(session, "follow it elsewhere with"))
            next_line(session, "following BTCUSDT")
            keeping = ("--record", "--home", tmp_path / "b", "--label", "second")
            flipping = ("--strategy", "tests.stream.strategies:Flipper")
            with (
                started(watch(url, "--no-dashboard", *keeping)) as kept,
                started(watch(url, "--port", "0", "--trade")) as shown,
                started(watch(url, "--no-dashboard", *flipping)) as trading,
                started(watch(url, "--no-dashboard")) as leaving,
            ):
                for one in (kept, shown, trading, leaving):
                    next_line(one, "watching BTCUSDT in session")
                next_line(shown, "flowtape is showing BTCUSDT")
                leaving.send_signal(signal.SIGINT)
                left = finished(leaving)
                session.send_signal(signal.SIGINT)
                told = finished(session)
                others = [finished(one) for one in (kept, shown, trading)]
    assert "it may go on" in left
    digest = found("^digest ([0-9a-f]{64})$", told)
    heard = found("^([0-9,]+ trades, 0 gaps)$", told)
    for out in others:
        assert "its end among them" in out
        assert f"\n{heard}\n" in out
    assert found("^digest ([0-9a-f]{64})$", others[0]) == digest
    assert found("^digest ([0-9a-f]{64})$", others[1]) == digest
    # Its own orders, on its own account.
    assert found("^digest ([0-9a-f]{64})$", others[2]) != digest
    assert found("^fills +([0-9,]+)$", others[2]) != "0"
    chain = "^session [0-9A-Z]{26} digest ([0-9a-f]{64})$"
    assert found(chain, others[0]) == found(chain, told)
    for home in ("a", "b"):
        assert flowtape("verify", "last", "--home", tmp_path / home).returncode == 0


def test_a_watcher_stays_while_a_killed_recording_is_taken_up(tmp_path: Path) -> None:
    with venue(speed=1.0) as server:
        record = command(
            server, "record", "BTCUSDT", "--out", tmp_path, "--hub", "0", "--hub-token", TOKEN
        )
        with started(record) as session:
            url = found(URL, next_line(session, "follow it elsewhere with"))
            port = found(r"127\.0\.0\.1:(\d+)/", url)
            next_line(session, "recording BTCUSDT")
            following = watch(f"ws://127.0.0.1:{port}", "--no-dashboard", "--hub-token", TOKEN)
            with started(following) as watcher:
                next_line(watcher, "watching BTCUSDT")
                os.kill(session.pid, signal.SIGKILL)
                session.wait()
                record[record.index("--hub") + 1] = port
                with started([*record, "--resume", "--for", "4s"]) as again:
                    assert "goes on behind input" in finished(again)
                out = finished(watcher)
    assert f"ws://127.0.0.1:{port} is away (" in out
    assert re.search("^session [0-9A-Z]{26} goes on$", out, re.MULTILINE)
    assert "its end among them" in out
    (folder,) = tmp_path.iterdir()
    summary = Session.open(folder).summary
    assert summary is not None
    assert f"{summary.input_count:,} inputs of session {folder.name}" in out
    assert f"\n{summary.trade_count:,} trades, 0 gaps\n" in out


def number(pattern: str, text: str) -> int:
    return int(found(pattern, text).replace(",", ""))


def kept_bytes(home: Path) -> int:
    """Return how much a watcher has kept of inputs."""
    return sum(path.stat().st_size for path in home.glob("*/*/inputs/**/*") if path.is_file())


def until_kept(home: Path, least_bytes: int) -> None:
    """Wait until a watcher has kept so much of inputs."""
    end_s = time.monotonic() + 60
    while kept_bytes(home) < least_bytes:
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.mark.parametrize("left_by", [signal.SIGINT, signal.SIGKILL])
def test_a_watcher_that_was_left_goes_on_by_number(tmp_path: Path, left_by: signal.Signals) -> None:
    with venue(speed=0.2) as server:
        live = command(
            server, "live", "BTCUSDT", "--no-dashboard", "--home", tmp_path / "a", "--hub", "0"
        )
        with started(live) as session:
            url = found(URL, next_line(session, "follow it elsewhere with"))
            next_line(session, "following BTCUSDT")
            words = ("--no-dashboard", "--home", tmp_path / "b")
            with started(watch(url, *words, "--record")) as first:
                next_line(first, "watching BTCUSDT in session")
                until_kept(tmp_path / "b", 4_000)
                (kept,) = (tmp_path / "b").glob("*/*")
                theirs = json.loads((kept / "watched.json").read_text())["session"]
                with pytest.raises(InputError, match=f"session {kept.name} goes on; stop it first"):
                    left_watching(kept.parent, theirs)
                with pytest.raises(InputError, match="no live session of spot/BTCUSDT"):
                    SessionStore(kept.parent).left_live(["BTCUSDT"], "spot")
                first.send_signal(left_by)
                left, _ = first.communicate(timeout=180)
            with started(watch(url, *words, "--resume")) as second:
                had = number("goes on behind input ([0-9,]+)$", next_line(second, "goes on behind"))
                before = kept_bytes(tmp_path / "b")
                next_line(second, "watching BTCUSDT in session")
                until_kept(tmp_path / "b", before + 1)
                session.send_signal(signal.SIGINT)
                told = finished(session)
                out = finished(second)
    with pytest.raises(InputError, match=f"has all of {theirs}; there is nothing to go on with"):
        left_watching(kept.parent, theirs)
    if left_by is signal.SIGINT:
        assert "go on with: flowtape watch URL --resume" in left
    summary = Session.open(kept).summary
    assert summary is not None
    assert had > 0
    assert "its end among them" in out
    assert had + number("^([0-9,]+) inputs of session", out) == summary.input_count
    digest = "^digest ([0-9a-f]{64})$"
    assert found(digest, out) == found(digest, told)
    assert flowtape("verify", "last", "--home", tmp_path / "b").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ws://127.0.0.1:9/?token=x"], "cannot be reached: nothing listens there"),
        (["127.0.0.1:9000"], "is no hub's address; it looks like ws://127.0.0.1:9000/?token=..."),
        (["ws://127.0.0.1:9", "--trade", "--no-dashboard"], "--trade needs the dashboard"),
        (["ws://127.0.0.1:9", "--label", "x"], "--label names a session that is kept"),
        (["ws://127.0.0.1:9", "--set", "a=1"], "--set needs --strategy"),
        (["ws://127.0.0.1:9", "--resume", "--label", "x", "--record"], "--resume goes on with a"),
    ],
)
def test_mistakes_are_told_in_one_line(run: Run, words: list[str], said: str) -> None:
    code, out, err = run("watch", *words)
    assert (code, out) == (2, "")
    assert err.startswith("flowtape: ")
    assert said in err
    assert err.count("\n") == 1


def test_what_cannot_be_gone_on_with_is_told_in_one_line(tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    with pytest.raises(InputError, match=r"no session below .* was kept of 01K; start one with"):
        left_watching(root, "01K")
    (root / "01B").mkdir(parents=True)
    note_watched(root / "01B", "01K")
    with pytest.raises(InputError, match=r"no session below .* was kept of 01C"):
        left_watching(root, "01C")


def test_a_hub_that_cannot_be_is_told_before_anything_is_made(run: Run, tmp_path: Path) -> None:
    code, _, err = run(
        "record", "BTCUSDT", "--out", tmp_path / "x", "--hub", "0", "--hub-token", "a"
    )
    assert code == 2
    assert "a hub's token must have 16 letters" in err
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(
    shutil.which("nats-server") is None, reason="there is no nats-server (Debian: nats-server)"
)
def test_a_session_that_went_through_nats_is_watched_later(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("nats", reason="the extra nats is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server_words = ["nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", str(tmp_path / "n")]
    with venue(speed=1.0) as server, started(server_words):
        _until_listening(int(port))
        record = command(server, "record", "BTCUSDT", "--for", "2s", "--out", tmp_path / "s")
        done = subprocess.run(
            [*record, "--nats", f"nats://127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        url = found('flowtape watch "(nats://.*)"$', done.stdout)
        code, out, err = run("watch", url, "--no-dashboard")
    assert code == 0, err
    (folder,) = (tmp_path / "s").iterdir()
    summary = Session.open(folder).summary
    assert summary is not None
    assert f"{summary.input_count:,} inputs of session {folder.name}, its end among them" in out
    assert f"\n{summary.trade_count:,} trades, 0 gaps\n" in out


def _until_listening(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


def test_without_the_extra_nats_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.delitem(sys.modules, "flowtape.connectors.hub.nats_transport", raising=False)
    code, _, err = run("watch", "nats://127.0.0.1:4222")
    assert code == 2
    assert err == "flowtape: NATS needs another package; pip install 'flowtape[nats]'\n"
