import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from flowtape.replay import layout
from flowtape.replay.tape_writer import TapeWriter, add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.replay.transaction import TapeTransaction, drop_leftovers, leftovers, settle
from flowtape.stream.errors import TapeError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
from tests.replay.archive_files import START_MS, trades, tree, tuples

BTC = Instrument("BTCUSDT", "spot", 2, 5)
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

# Copies a store again and again, and imports into each copy in a child that is killed one step
# later each time, until one comes through. Nothing of Arrow runs before a fork.
KILLED_IMPORTS = """
import os, shutil, signal, sys
from pathlib import Path
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from tests.replay.archive_files import trades

def import_with(root, steps_left):
    def counted(function):
        def call(*args, **kwargs):
            nonlocal steps_left
            if steps_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            steps_left -= 1
            return function(*args, **kwargs)
        return call
    for name in ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    finer = Instrument("BTCUSDT", "spot", 2, 6)
    add_trades(TapeStore(root), finer, [trades(400, first_id=50, step_us=400_000_000)])
    os._exit(0)

folder = Path(sys.argv[1])
for step in range(1_000):
    root = folder / str(step)
    shutil.copytree(folder / "old", root)
    child = os.fork()
    if child == 0:
        import_with(root, step)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(step)
        break
"""


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def old_tape(root: Path) -> TapeStore:
    store = TapeStore(root)
    add_trades(store, BTC, [trades(100, step_us=1_700_000_000)])
    return store


def visible(store: TapeStore) -> tuple[Instrument, list[tuple[int, ...]]]:
    tape = store.open("BTCUSDT")
    return tape.instrument, tuples(tape.full_trades(0, len(tape)))


def test_an_import_killed_anywhere_leaves_the_old_tape_or_the_new(tmp_path: Path) -> None:
    before = visible(old_tape(tmp_path / "old"))
    done = subprocess.run(
        python(KILLED_IMPORTS, str(tmp_path)),
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        timeout=100,
    )
    last = int(done.stdout)
    after = visible(TapeStore(tmp_path / str(last)))
    assert before != after
    outcomes = []
    for step in range(last):
        root = tmp_path / str(step)
        store = TapeStore(root)
        found = visible(store)
        assert found in (before, after), f"half a tape when killed at step {step}"
        outcomes.append(found == after)
        drop_leftovers(root)
        assert not (root / ".staging").exists()
        if step % 8 == 0:
            assert visible(store) == found
            finer = Instrument("BTCUSDT", "spot", 2, 6)
            add_trades(store, finer, [trades(400, first_id=50, step_us=400_000_000)])
            assert visible(store) == after
    assert outcomes == sorted(outcomes)
    assert outcomes.count(True) > 5
    assert outcomes.count(False) > 5


def test_two_imports_of_one_tape_do_not_run_at_once(tmp_path: Path) -> None:
    store = TapeStore(tmp_path)
    with (
        TapeWriter(store, BTC),
        pytest.raises(TapeError, match="another import into spot/BTCUSDT is running"),
    ):
        add_trades(store, BTC, [trades(5)])
    add_trades(store, BTC, [trades(5)])
    assert len(store.open("BTCUSDT")) == 5


def test_leaving_without_commit_changes_nothing(tmp_path: Path) -> None:
    store = old_tape(tmp_path)
    found = tree(tmp_path)
    with TapeWriter(store, BTC) as writer:
        writer.sorter().add(trades(500, first_id=500), BTC)
    assert tree(tmp_path) == found


def test_an_error_on_the_way_changes_nothing(tmp_path: Path) -> None:
    store = old_tape(tmp_path)
    found = tree(tmp_path)

    def broken() -> Iterator[Trades]:
        yield trades(500, first_id=500)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_trades(store, BTC, broken())
    assert tree(tmp_path) == found


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TapeError, match="cannot be written to"):
        add_trades(TapeStore(tmp_path / "file" / "tapes"), BTC, [trades(5)])


def committed_but_not_carried_out(root: Path) -> TapeTransaction:
    change = TapeTransaction(root, BTC)
    change.folder.mkdir(parents=True)
    (change.folder / "new").write_text("new")
    plan = {"moves": {"new": "a/b/new"}, "deletes": ["a/old"]}
    (change.folder / "commit.json").write_bytes(msgspec.json.encode(plan))
    (root / "a").mkdir()
    (root / "a/old").write_text("old")
    return change


def test_a_committed_change_is_carried_out_by_whoever_comes_next(tmp_path: Path) -> None:
    committed_but_not_carried_out(tmp_path)
    settle(tmp_path)
    assert {name: content for name, (_, content) in tree(tmp_path).items()} == {"a/b/new": b"new"}


def test_an_uncommitted_change_is_dropped_by_repair_only(tmp_path: Path) -> None:
    change = TapeTransaction(tmp_path, BTC)
    change.folder.mkdir(parents=True)
    (change.folder / "new").write_text("new")
    settle(tmp_path)
    assert change.folder.exists()
    assert leftovers(tmp_path, "spot", "BTCUSDT")
    assert not leftovers(tmp_path, "um", "BTCUSDT")
    assert change.folder.exists()
    assert drop_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_plan_cannot_lead_out_of_the_store(tmp_path: Path, name: str) -> None:
    change = committed_but_not_carried_out(tmp_path)
    plan = {"moves": {"new": name}, "deletes": []}
    (change.folder / "commit.json").write_bytes(msgspec.json.encode(plan))
    with pytest.raises(TapeError, match="leads out of"):
        settle(tmp_path)


def test_the_lock_of_a_killed_import_is_free(tmp_path: Path) -> None:
    holder = (
        "import sys\nfrom pathlib import Path\n"
        "from flowtape.replay.tape_writer import TapeWriter\n"
        "from flowtape.replay.tapes import TapeStore\n"
        "from flowtape.stream.instrument import Instrument\n"
        "with TapeWriter(TapeStore(Path(sys.argv[1])), Instrument('BTCUSDT', 'spot', 2, 5)):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        python(holder, str(tmp_path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(TapeError, match="is running"):
            add_trades(TapeStore(tmp_path), BTC, [trades(5)])
        child.kill()
    add_trades(TapeStore(tmp_path), BTC, [trades(5)])
    assert layout.list_tapes(tmp_path)
    assert visible(TapeStore(tmp_path))[1][0][1] == START_MS * 1000
