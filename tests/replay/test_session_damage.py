"""Sessions that were cut, damaged or tampered with: what can be taken up is, the rest is told."""

import bisect
import errno
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from flowtape.cli.main import main
from flowtape.replay.verifying import verify
from flowtape.stream import input_log
from flowtape.stream.commands import DiffersError
from flowtape.stream.errors import FlowError
from flowtape.stream.inputs import InputKind
from flowtape.stream.journal import JournalError, JournalReader, recover
from flowtape.stream.record_journals import from_batch
from flowtape.stream.session import Session, SessionWriter
from tests.replay.courses import (
    Brisk,
    Course,
    Run,
    copied,
    kept,
    many_checkpoints,
    people_of,
    short_parts,
)
from tests.replay.faulty_files import Fault, FaultyFiles
from tests.replay.live_sessions import no_tape
from tests.replay.session_damage import (
    JOURNAL_DAMAGES,
    PART_DAMAGES,
    SCHEMAS,
    Damager,
    Files,
    borders,
    files_of,
    left_open,
    open_segment,
    put,
)


@pytest.fixture(autouse=True)
def _short_parts() -> Iterator[None]:
    with short_parts():
        yield


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    with short_parts():
        return Course.run(tmp_path_factory.mktemp("course"), 48)


@pytest.fixture(scope="module")
def short_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    with short_parts():
        return Course.run(tmp_path_factory.mktemp("course"), 20)


@pytest.fixture(scope="module")
def long_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    with short_parts():
        return Course.run(tmp_path_factory.mktemp("course"), 260)


# Torn ends


def check_torn_ends(left: Path, root: Path, name: str, cuts: list[int]) -> None:
    """Wherever a journal is cut, it comes to what it is when cut at the border before."""
    data = open_segment(left, name).read_bytes()
    ends, expected = borders(data), {}
    folder = root / name
    folder.mkdir(parents=True)
    for cut in cuts:
        end = ends[bisect.bisect_right(ends, cut) - 1]
        (folder / "000001.arrows").unlink(missing_ok=True)
        (folder / "000001.arrows.open").write_bytes(data[:cut])
        recovery = recover(folder, SCHEMAS[name], files=FaultyFiles())
        assert recovery.batch_count == max(ends.index(end) - 1, 0)
        assert recovery.bytes_cut == cut - end
        sealed = folder / "000001.arrows"
        now = sealed.read_bytes() if sealed.exists() else b""
        assert now == expected.setdefault(end, now)
        assert now[:end] == data[:end] * (recovery.batch_count > 0)


def test_a_torn_end_is_cut_to_whole_batches(course: Course, tmp_path: Path) -> None:
    left = left_open(course, tmp_path, 40)
    rng = random.Random(4)
    for name in SCHEMAS:
        size = open_segment(left, name).stat().st_size
        near = {
            cut for end in borders(open_segment(left, name).read_bytes()) for cut in (end, end + 9)
        }
        drawn = (rng.randrange(size + 1) for _ in range(670))
        check_torn_ends(left, tmp_path, name, sorted({*near, *drawn} & set(range(size + 1))))


@pytest.mark.deep
def test_a_torn_end_at_every_byte(long_course: Course, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_log, "PART_INPUTS", 1 << 16)
        left = left_open(long_course, tmp_path, 60)
    for name in SCHEMAS:
        size = open_segment(left, name).stat().st_size
        check_torn_ends(left, tmp_path, name, list(range(max(0, size - (1 << 16)), size + 1)))


def check_cut_session(course: Course, left: Path, root: Path, cuts: dict[str, int]) -> str:
    """Go on with a session whose journals were cut; returns how that went."""
    folder = root / left.name
    shutil.copytree(left, folder)
    for name, cut in cuts.items():
        path = open_segment(folder, name)
        os.truncate(path, cut)
    session, whole = Session.open(folder), Session.open(left)
    inputs = [piece.to_batch() for piece in session.inputs()]
    known = sum(batch.num_rows for batch in inputs)
    has_ended = bool(inputs) and inputs[-1].column(0)[-1].as_py() == InputKind.END
    logs = {"commands": session.commands(), "links": session.links()}
    limits = {"commands": known, "links": known if has_ended else known - 1}
    people = people_of(whole)
    lost = people[len(people_of(session)) :]["input"]
    links = logs["links"][logs["links"]["input"] <= limits["links"]]
    if len(links) and bool(np.any(lost <= links["input"][-1])):
        # What people asked for is on the disk before they are told so: this is no torn end.
        assert verify(session, no_tape).difference is not None
        with pytest.raises(DiffersError) as caught:
            Run.again(course, folder)
        assert "\n" not in str(caught.value)
        return "refused"
    run = Run.again(course, folder, FaultyFiles())
    assert run.engine.input == known
    for name, log in logs.items():
        ahead = list(folder.glob(f"{name}-*.ahead"))
        assert len(ahead) == bool(np.any(log["input"] > limits[name]))
        for one in ahead:
            batches = JournalReader(one, SCHEMAS[name]).batches()
            assert b"".join(from_batch(b, log.dtype).tobytes() for _, b in batches) == log.tobytes()
    try:
        run.go_on()
    finally:
        run.leave()
    session = Session.open(folder)
    if bool(np.any(lost < known)):
        assert verify(session, no_tape, course.strategy()).difference is None
        return "without what was lost"
    assert session.summary == course.summary
    return "ahead" if list(folder.glob("*.ahead")) else "equal"


def check_cut_sessions(course: Course, root: Path, count: int, seed: int) -> Counter[str]:
    rng, events = random.Random(seed), len(course.events)
    with many_checkpoints():
        lefts = [left_open(course, root / f"{n}", n) for n in (events * 2 // 3, events * 9 // 10)]
        lefts.append(left_open(course, root / "end", events, ended=True))
    seen: Counter[str] = Counter()
    for number in range(count):
        left = lefts[number % 3]
        cuts = {}
        for name in rng.choice([["inputs"], ["commands"], ["links"], [*SCHEMAS], [*SCHEMAS][1:]]):
            ends = borders(open_segment(left, name).read_bytes())
            # Mostly near the end, as after a loss of power.
            lower = rng.choice([0, len(ends) * 2 // 3])
            cuts[name] = ends[rng.randrange(lower, len(ends))]
        seen[check_cut_session(course, left, root / f"cut{number}", cuts)] += 1
    return seen


OUTCOMES = {"equal", "ahead", "without what was lost", "refused"}


def test_a_session_goes_on_however_its_journals_were_cut(course: Course, tmp_path: Path) -> None:
    assert check_cut_sessions(course, tmp_path, 24, seed=1).keys() >= OUTCOMES


@pytest.mark.deep
def test_a_session_goes_on_after_any_loss(course: Course, tmp_path: Path) -> None:
    assert check_cut_sessions(course, tmp_path, 1500, seed=2).keys() >= OUTCOMES


def test_what_a_strategy_asked_for_is_asked_again_where_it_was_lost(tmp_path: Path) -> None:
    course = Course.run(tmp_path / "course", 30, people=False)
    left = left_open(course, tmp_path, 28)
    (_, *ends) = borders(open_segment(left, "commands").read_bytes())
    closed = int(Session.open(left).links()["input"][-1])
    behind_a_link = 0
    for number, end in enumerate(ends):
        cuts = {"commands": end}
        assert check_cut_session(course, left, tmp_path / f"{number}", cuts) == "equal"
        behind_a_link += int(Session.open(left).commands()["input"][number]) <= closed
    assert behind_a_link >= 3


# Damage


def made_in_steps(root: Path, seed: int, *, ended: bool) -> Path:
    """A session that was left and gone on with, so that its journals have several segments."""
    course = Course.run(root / "course", 24, seed=seed)
    run = Run.begin(course, root / "0")
    for number, stop in enumerate((7, 14, 21), 1):
        run.go_to(stop)
        if ended:
            run.leave()
            folder = run.writer.folder
        else:
            folder = copied(run.writer.folder, root / f"{number}")
            run.leave()
        if ended or stop < 21:
            run = Run.again(course, folder)
    if ended:
        run.go_on()
        assert Session.open(folder).summary == course.summary
    return folder


def differs(folder: Path) -> str | None:
    """What verify finds; None when there is nothing."""
    try:
        return verify(Session.open(folder), no_tape).difference
    except FlowError as error:
        return str(error)


def check_damages(root: Path, counts: tuple[int, int, int], seed: int) -> int:
    """Damage sessions: those that ended in their parts, then in their journals, then killed ones.

    Returns how many damages changed nothing that is read.
    """
    (root / "scratch").mkdir(parents=True)
    made = {
        ended: [
            files_of(made_in_steps(root / f"{ended}{number}", number, ended=ended))
            for number in (5, 6)
        ]
        for ended in (True, False)
    }
    harmless = 0
    for run, (ended, damages) in enumerate(
        ((True, PART_DAMAGES), (True, JOURNAL_DAMAGES), (False, JOURNAL_DAMAGES))
    ):
        one, other = made[ended]
        folder = root / f"{run}"
        put(folder, one, {})
        assert differs(folder) is None
        content = kept(Session.open(folder))
        for i in range(counts[run]):
            damage = damages[i % len(damages)]
            damager = Damager(one, other, random.Random(f"{seed} {run} {i}"), root / "scratch")
            damage(damager)
            hint = f"{damage.__name__} {run} {i}"
            assert damager.files != one, hint
            put(folder, damager.files, one)
            said = differs(folder)
            if said is None:
                assert damage is Damager.flip_part, hint
                assert kept(Session.open(folder)) == content, hint
                harmless += 1
            else:
                assert "\n" not in said, hint
                if i % 50 == 7:
                    assert exit_code(folder) in (1, 2), hint
                if not ended and i % 10 == 0:
                    check_is_not_cut(folder, root / "resumed", damager.files, one, hint)
            put(folder, one, damager.files)
    return harmless


def check_is_not_cut(folder: Path, root: Path, files: Files, before: Files, hint: str) -> None:
    """A damaged session is not gone on with, and every byte of the damage is still there."""
    left = copied(folder, root)
    with pytest.raises(FlowError) as caught:
        Run.again(Course([], Brisk), left)
    assert "\n" not in str(caught.value), hint
    found = {path.read_bytes() for path in left.rglob("*.arrows*")}
    for name, data in files.items():
        assert before.get(name) == data or data in found, hint
    shutil.rmtree(root)


def exit_code(folder: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder)])
    return int(ended.value.code or 0)


def test_damage_is_found_and_never_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_damages(tmp_path, (56, 574, 370), 1) < 20
    shown = capsys.readouterr()
    assert "this should not have happened" not in shown.err
    assert (shown.out + shown.err).count("\n") >= 20


@pytest.mark.deep
def test_much_damage_is_found_and_never_cut(tmp_path: Path) -> None:
    assert check_damages(tmp_path, (4_200, 9_800, 6_000), 2) < 900


@pytest.mark.parametrize(
    "damage",
    [
        Damager.add_command,
        Damager.add_input,
        Damager.change_unchecked,
        Damager.change_summary,
    ],
)
def test_what_is_behind_the_end_or_beside_the_chain_is_found(
    damage: Callable[[Damager], None], short_course: Course, tmp_path: Path
) -> None:
    files = files_of(short_course.folder)
    damager = Damager(files, files, random.Random(1), tmp_path / "scratch")
    damage(damager)
    put(tmp_path / "damaged", damager.files, {})
    assert differs(tmp_path / "damaged") is not None


def test_a_process_that_dies_between_two_renames_loses_nothing(
    course: Course, tmp_path: Path
) -> None:
    left = left_open(course, tmp_path, 40)
    path = open_segment(left, "inputs")
    os.truncate(path, borders(path.read_bytes())[2])
    seen = 0
    for at in range(1, 20):
        folder = copied(left, tmp_path / f"{at}")
        files = FaultyFiles(Fault("rename", at, errno.EIO, lasts=False))
        with suppress(JournalError):
            SessionWriter.resume(folder, sync="none", files=files).close()
        if not files.failed:
            break
        seen += files.failed[0].name in {"commands", ".commands", "links", ".links"}
        again = Run.again(course, folder, FaultyFiles())
        again.go_on()
        assert Session.open(folder).summary == course.summary
    assert seen >= 2
