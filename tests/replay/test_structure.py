"""What can be said of a session without an engine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.structure import check_structure
from flowtape.replay.verifying import verify
from flowtape.stream.journal import JournalWriter
from flowtape.stream.record_journals import schema_of, to_batch
from flowtape.stream.records import COMMAND, LINK, Records
from flowtape.stream.session import Session
from tests.replay.live_sessions import Calm, no_tape, run_live
from tests.replay.test_sessions import Slow, click, open_tape, run


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_live(tmp_path_factory.mktemp("live"), 70_000, Calm())


def test_it_is_the_digest_of_the_engine(live: Session, tmp_path: Path) -> None:
    over_tape = run(tmp_path, Slow(), person=click)
    for session, opener in ((live, no_tape), (over_tape, open_tape)):
        found = check_structure(session, opener)  # type: ignore[arg-type]
        assert found == verify(session, opener)  # type: ignore[arg-type]
        assert found.difference is None


def test_pieces_of_any_size_come_to_the_same(live: Session) -> None:
    whole = verify(live, no_tape, Calm())
    for cut in (97, 4096):
        assert verify(live, no_tape, Calm(), cut=cut) == whole


def rewrite(folder: Path, dtype: np.dtype[np.void], records: Records) -> None:
    """Put a whole and undamaged journal in the place of another."""
    shutil.rmtree(folder)
    with JournalWriter(folder, schema_of(dtype)) as journal:
        journal.append(to_batch(records))


def without_one(records: Records) -> Records:
    return np.delete(records, len(records) // 2)


def later(records: Records) -> Records:
    records["input"][3] += 1
    return records


def swapped(records: Records) -> Records:
    records[[3, -3]] = records[[-3, 3]]
    return records


def other_price(records: Records) -> Records:
    records["request"]["price_ticks"][-1] += 1
    return records


def other_outputs(records: Records) -> Records:
    records["outputs"][0] = np.void(bytes(32))
    return records


@pytest.mark.parametrize(
    ("name", "dtype", "change"),
    [
        *(("commands", COMMAND, one) for one in (without_one, later, swapped, other_price)),
        *(("links", LINK, one) for one in (without_one, other_outputs)),
    ],
)
def test_what_was_changed_with_good_checksums_is_found(
    live: Session,
    tmp_path: Path,
    name: str,
    dtype: np.dtype[np.void],
    change: Callable[[Records], Records],
) -> None:
    folder = tmp_path / live.id
    shutil.copytree(live.folder, folder)
    records = live.commands() if name == "commands" else live.links()
    rewrite(folder / name, dtype, change(records.copy()))
    assert check_structure(Session.open(folder), no_tape).difference is not None


def test_another_genesis_and_another_summary_are_found(live: Session, tmp_path: Path) -> None:
    for number, (name, path) in enumerate(
        (("genesis.json", ("genesis", "config", "seed")), ("summary.json", ("digest",)))
    ):
        folder = tmp_path / f"{number}" / live.id
        shutil.copytree(live.folder, folder)
        made = json.loads((folder / name).read_text())
        inner = made
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = 5 if path[-1] == "seed" else "0" * 64
        (folder / name).write_text(json.dumps(made))
        assert check_structure(Session.open(folder), no_tape).difference is not None
