"""A recording keeps every whole batch, whatever happens to the process or the file's end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.recorder import JOURNAL_NAME, TapeRecorder, seal
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError, TapeError
from flowtape.stream.ports import Clock, Gap
from flowtape.stream.trades import Trades
from tests.stream.tapes import INSTRUMENT, make_columns

COLUMNS = make_columns(1000, seed=3)


def trades(start: int, stop: int) -> Trades:
    c = COLUMNS.slice(start, stop)
    ids = np.arange(start + 1, stop + 1)
    return Trades(ids, c.ts_us, c.price_ticks, c.qty_lots, ids * 2, ids * 2 + 1, c.side)


def recorded(folder: Path) -> Trades:
    tape = TapeStore(folder).open("TESTUSDT")
    return tape.full_trades(0, len(tape))


def fill(recorder: TapeRecorder, batches: int = 10) -> None:
    for i in range(batches):
        recorder.write(trades(i * 100, (i + 1) * 100))
        recorder.write(Clock(1))


def test_recording_becomes_a_tape(tmp_path: Path) -> None:
    recorder = TapeRecorder(tmp_path, "one", INSTRUMENT)
    fill(recorder)
    recorder.write(Gap(2000, 2009, "not served"))
    recorder.close()
    assert not (recorder.folder / JOURNAL_NAME).exists()
    kept = recorded(recorder.folder)
    for name in Trades.__dataclass_fields__:
        assert np.array_equal(getattr(kept, name), getattr(trades(0, 1000), name)), name
    summary = json.loads((recorder.folder / "recording.json").read_text())
    assert summary == {"gaps": [[2000, 2009]], "trade_count": 1000, "torn_bytes": 0}
    assert seal(recorder.folder) is None


def test_each_recording_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = [TapeRecorder(tmp_path, "same", INSTRUMENT) for _ in range(3)]
    assert [r.folder.name for r in folders] == ["same", "same-2", "same-3"]
    for recorder in folders:
        recorder.close()
        assert not list(recorder.folder.glob("venue=*"))


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot record into"):
        TapeRecorder(tmp_path / "file", "one", INSTRUMENT)


def journal_of(tmp_path: Path) -> tuple[Path, bytes, list[int]]:
    """A journal of ten batches as a killed process leaves it, and where its batches end."""
    recorder = TapeRecorder(tmp_path, "cut", INSTRUMENT)
    journal = recorder.folder / JOURNAL_NAME
    ends = [journal.stat().st_size]
    for i in range(10):
        recorder.write(trades(i * 100, (i + 1) * 100))
        ends.append(journal.stat().st_size)
    data = journal.read_bytes()
    recorder.close()
    return recorder.folder, data, ends


def test_any_torn_end_leaves_the_whole_batches(tmp_path: Path) -> None:
    _, data, ends = journal_of(tmp_path)
    rng = np.random.default_rng(0)
    cuts = {
        0,
        1,
        ends[0],
        *(end + d for end in ends for d in (-1, 0, 1)),
        *rng.integers(0, len(data), 30),
    }
    for cut in sorted(c for c in cuts if 0 <= c <= len(data)):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / JOURNAL_NAME).write_bytes(data[:cut])
        sealed = seal(folder)
        assert sealed is not None
        whole = max(sum(end <= cut for end in ends) - 1, 0)
        assert sealed.trade_count == whole * 100
        if whole:
            assert sealed.torn_bytes == cut - ends[whole]
            assert np.array_equal(recorded(folder).agg_id, np.arange(1, whole * 100 + 1))


def test_damage_in_the_middle_is_refused_and_left(tmp_path: Path) -> None:
    _, data, ends = journal_of(tmp_path)
    folder = tmp_path / "damaged"
    folder.mkdir()
    at = ends[4] - 40
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    (folder / JOURNAL_NAME).write_bytes(damaged)
    with pytest.raises(TapeError, match=r"damaged at byte \d+, batch 3; it is left as it is"):
        seal(folder)
    assert (folder / JOURNAL_NAME).read_bytes() == damaged
    assert not list(folder.glob("venue=*"))


def test_killed_process_loses_nothing_it_had_written(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.replay.test_recorder import TapeRecorder, INSTRUMENT, trades
recorder = TapeRecorder(Path({str(tmp_path)!r}), "killed", INSTRUMENT)
for i in range(7):
    recorder.write(trades(i * 100, (i + 1) * 100))
print("written", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    sealed = seal(tmp_path / "killed")
    assert sealed is not None
    assert (sealed.trade_count, sealed.torn_bytes) == (700, 0)


def test_a_running_recording_is_not_sealed(tmp_path: Path) -> None:
    recorder = TapeRecorder(tmp_path, "one", INSTRUMENT)
    fill(recorder, 5)
    with pytest.raises(InputError, match="one is still being recorded; wait until that is done"):
        seal(recorder.folder)
    recorder.write(trades(500, 600))
    recorder.close()
    assert len(recorded(recorder.folder)) == 600


def test_a_full_disk_ends_a_recording_with_what_it_has(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from flowtape.replay.recorder import TapeRecorder
from flowtape.stream.errors import InputError
from tests.replay.test_recorder import INSTRUMENT, trades
recorder = TapeRecorder(Path({str(tmp_path)!r}), "one", INSTRUMENT)
recorder.write(trades(0, 100))
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))
try:
    recorder.write(trades(100, 1_000))
except InputError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
recorder.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "one takes no more (File too large); what was recorded before is kept" in done.stdout
    assert len(recorded(tmp_path / "one")) == 100
