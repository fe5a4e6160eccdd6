from pathlib import Path

import numpy as np

from flowtape.replay.demo_tape import DEMO_SYMBOL, demo_store, demo_trades, write_demo
from flowtape.replay.doctor import examine_tape, tape_problems
from flowtape.replay.schema import ColumnsDigest
from flowtape.replay.tapes import TapeStore
from tests.replay.archive_files import tree


def test_the_bundled_tape_is_what_its_seed_makes(tmp_path: Path) -> None:
    digest = ColumnsDigest()
    for piece in demo_trades():
        digest.update(piece)
    (part,) = demo_store(tmp_path).open(DEMO_SYMBOL).parts
    assert part.meta.sha256 == digest.hexdigest()


def test_it_can_be_written_anew(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo")
    again = TapeStore(tmp_path / "demo", tmp_path / "cache").open(DEMO_SYMBOL)
    assert again.sha256 == demo_store(tmp_path).open(DEMO_SYMBOL).sha256


def test_reading_it_writes_nothing_beside_it(tmp_path: Path) -> None:
    store = demo_store(tmp_path)
    before = tree(store.root)
    tape = store.open(DEMO_SYMBOL)
    assert len(tape.columns()) == len(tape)
    assert tape_problems(examine_tape(store, DEMO_SYMBOL)) == []
    assert tree(store.root) == before
    assert store.cache.root == tmp_path


def test_it_is_small_and_lively(tmp_path: Path) -> None:
    store = demo_store(tmp_path)
    (info,) = store.tapes()
    assert info.size_bytes < 1_900_000
    tape = store.open(DEMO_SYMBOL)
    columns = tape.columns()
    assert 5.5 < (tape.end_us - tape.start_us) / 3.6e9 < 6.5
    minutes = np.bincount((columns.ts_us - tape.start_us) // 60_000_000)
    assert minutes.min() > 20
    assert np.ptp(columns.price_ticks) / columns.price_ticks[0] > 0.005
