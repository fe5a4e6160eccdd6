"""Inputs on the disk: what was written is read, in whatever state the folder was left."""

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.stream import input_log
from flowtape.stream.input_log import InputLog, read_inputs, recover_inputs
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.journal import JournalDamagedError, JournalError
from flowtape.stream.ports import Clock, Funding, Gap, Mark
from tests.replay.live_sessions import trades

PART = 64


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_log, "PART_INPUTS", PART)


def made(count: int) -> Inputs:
    """Inputs of every kind."""
    pieces, whole = [], trades(count)
    for at in range(0, count, 10):
        pieces.append(Inputs.of_trades(whole.slice(at, at + 8), market=at % 3))
        pieces.append(Inputs.one(InputKind.GAP, market=1, a=at + 1, b=at + 2))
        pieces.append(Inputs.one(InputKind.MARK, ts_us=at, a=5))
    return Inputs.concat(pieces)


def write(folder: Path, inputs: Inputs, cuts: list[int]) -> InputLog:
    log, at = InputLog(folder), 0
    for cut in [*cuts, len(inputs)]:
        log.append(inputs.slice(at, at + cut))
        at += cut
    return log


def same(one: Inputs, other: Inputs) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Inputs))


def read(folder: Path, first: int = 1) -> Inputs:
    return Inputs.concat([made(10).slice(0, 0), *read_inputs(folder, first)])


@given(cuts=st.lists(st.integers(0, 200), max_size=12), first=st.integers(1, 700))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], first: int
) -> None:
    folder = tmp_path_factory.mktemp("log") / "inputs"
    inputs = made(600)
    log = write(folder, inputs, cuts)
    assert log.input_count == len(inputs)
    for _ in range(2):  # while it is written, and sealed
        assert same(read(folder), inputs)
        assert same(read(folder, first), inputs.slice(first - 1, len(inputs)))
        log.close()
    assert not list(folder.glob("*.journal"))


@given(st.lists(st.integers(1, 150), min_size=1, max_size=5))
@settings(max_examples=settings().max_examples // 4)
def test_it_is_gone_on_with(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("log") / "inputs"
    inputs, at = made(400), 0
    for number, size in enumerate(sizes):
        log = InputLog(folder)
        assert log.input_count == at
        for one in range(at, min(at + size, len(inputs)), 5):
            log.append(inputs.slice(one, min(one + 5, at + size, len(inputs))))
        at = min(at + size, len(inputs))
        if number % 2:
            log.close()
        else:
            log.abandon()
        assert recover_inputs(folder) == at
        assert same(read(folder), inputs.slice(0, at))


def test_a_process_that_dies_while_sealing_leaves_both_forms_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    inputs = made(600)
    write(tmp_path / "a", inputs, [PART] * 5).abandon()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "c", inputs.slice(0, PART), []).abandon()
    log = InputLog(tmp_path / "c")
    log.close()
    # The first part is there sealed, and as the journal that it was sealed from.
    journal = tmp_path / "b" / f"{1:012d}.journal"
    if not journal.exists():
        shutil.copytree(next((tmp_path / "a").glob("*.journal")), journal)
    assert same(read(tmp_path / "b"), inputs)
    assert recover_inputs(tmp_path / "b") == len(inputs)
    InputLog(tmp_path / "b").close()
    assert not list((tmp_path / "b").glob("*.journal"))
    assert same(read(tmp_path / "b"), inputs)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = InputLog(tmp_path)
    with pytest.raises(JournalError, match="is being written by process"):
        InputLog(tmp_path)
    first.close()


@pytest.mark.parametrize("victim", [0, 1, -2])
def test_a_missing_part_is_told(tmp_path: Path, victim: int) -> None:
    log = write(tmp_path, made(600), [PART] * 6)
    log.close()
    gone = sorted(tmp_path.glob("*.parquet"))[victim]
    gone.unlink()
    with pytest.raises(JournalDamagedError, match=r"begins with input \d+ is missing"):
        read(tmp_path)
    with pytest.raises(JournalDamagedError, match="is missing"):
        recover_inputs(tmp_path)


@pytest.mark.parametrize("bit", [0x10, 0x80])
def test_every_damaged_byte_of_a_sealed_part_is_told_or_changes_nothing(
    tmp_path: Path, bit: int
) -> None:
    inputs = made(50)
    log = write(tmp_path, inputs, [])
    log.close()
    (part,) = tmp_path.glob("*.parquet")
    good = part.read_bytes()
    told = 0
    for at in range(0, len(good), 7):
        part.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
        try:
            assert same(read(tmp_path), inputs), at
        except JournalDamagedError:
            told += 1
    # What is not told is in statistics and names that no one reads.
    assert told > len(good) // 7 * 0.5


def test_events_become_inputs() -> None:
    assert len(Inputs.of(Clock(50), 0, 60)) == 0
    assert Inputs.of(Clock(60), 0, 60).ts_us.tolist() == [60]
    late = Inputs.of(Mark(50, 7), 2, 60)
    assert (late.kind[0], late.market[0], late.ts_us[0], late.price_ticks[0]) == (4, 2, 60, 7)
    assert Inputs.of(Funding(70, -3), 0, 60).price_ticks.tolist() == [-3]
    rules = Inputs.of_rules([(3, 10), (5, 1 << 50)], 2, 60)
    assert rules.kind.tolist() == [7, 7]
    assert rules.market.tolist() == [2, 2]
    assert rules.price_ticks.tolist() == [3, 5]
    assert rules.qty_lots.tolist() == [10, 1 << 50]
    assert rules.ts_us.tolist() == [60, 60]
    assert not rules.agg_id.any()
    gap = Inputs.of(Gap(5, 9, "lost"), 1, 60)
    assert (gap.price_ticks[0], gap.qty_lots[0], gap.ts_us[0]) == (5, 9, 0)
    whole = trades(20)
    assert np.array_equal(Inputs.of(whole, 3, 0).trades(3).first_id, whole.first_id)
    assert len(Inputs.of(whole, 3, 0).trades(2)) == 0


def test_runs_are_trades_together_and_others_one_by_one() -> None:
    whole = trades(7)
    clock = Inputs.one(InputKind.CLOCK, ts_us=1)
    parts = [Inputs.of_trades(whole.slice(0, 3)), clock, clock, Inputs.of_trades(whole.slice(3, 7))]
    assert [len(run) for run in Inputs.concat(parts).runs()] == [3, 1, 1, 4]
    assert [len(run) for run in Inputs.concat(parts[1:3]).runs()] == [1, 1]
