"""Checkpoints that are torn, another session's or hostile: resuming does without them."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowtape.replay.resuming import resume
from flowtape.stream.memory import remember
from flowtape.stream.session import Session
from tests.replay.courses import Brisk, Course, Run, copied, many_checkpoints, short_parts
from tests.replay.faulty_files import FaultyFiles
from tests.replay.live_sessions import no_tape
from tests.replay.session_damage import borders, left_open, open_segment


@pytest.fixture(autouse=True)
def _short_parts() -> Iterator[None]:
    with short_parts():
        yield


@pytest.fixture(scope="module")
def short_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    with short_parts():
        return Course.run(tmp_path_factory.mktemp("course"), 20)


def checkpoints_of(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.json"))


def sealed(folder: Path, text: str) -> str:
    """A checkpoint's text with its right checksum."""
    digest = hashlib.sha256(f"{folder.name}\n{text}".encode()).hexdigest()
    return f"{text}\n{digest}\n"


def changed(path: Path, **values: object) -> str:
    """A checkpoint with other values and the right checksum, under its old name."""
    plain = json.loads(path.read_text().splitlines()[0])
    return sealed(path.parent.parent, json.dumps({**plain, **values}))


class Stranger(Brisk):
    """Another strategy, which decides as Brisk does."""


BOMB = "[" * 200_000
HOSTILE: dict[str, Callable[[Path], str | bytes]] = {
    "empty": lambda path: "",
    "torn": lambda path: path.read_text()[: len(path.read_text()) // 2],
    "without a checksum": lambda path: path.read_text().splitlines()[0] + "\n",
    "a flipped bit": lambda path: path.read_text().replace('"input": ', '"input": 1'),
    "no text": lambda path: bytes(range(256)),
    "no object": lambda path: sealed(path.parent.parent, "[1, 2]"),
    "too deep": lambda path: sealed(path.parent.parent, BOMB),
    "lacks a field": lambda path: sealed(path.parent.parent, '{"input": 5, "bubbles_told": []}'),
    "an unknown field": lambda path: changed(path, more=1),
    "a negative number": lambda path: changed(path, command_count=-3),
    "a number that is none": lambda path: changed(path, command_count=1.5),
    "texts": lambda path: changed(path, fills_seen="many"),
    "another input than its name says": lambda path: changed(path, input=1),
    "ahead of the commands": lambda path: changed(path, command_count=10**6),
    "too few instruments": lambda path: changed(path, bubbles_told=[]),
    "too many instruments": lambda path: changed(path, bubbles_told=[1, 2]),
    "instruments that are none": lambda path: changed(path, bubbles_told=["a"]),
    "memory that is no text": lambda path: changed(path, memory=5),
    "memory that is nothing": lambda path: changed(path, memory=""),
    "memory of nodes": lambda path: changed(
        path, memory='{"nodes": [["list", [0]]], "version": 1}'
    ),
    "memory that is too deep": lambda path: changed(path, memory=BOMB),
    "memory of another format": lambda path: changed(path, memory='{"nodes": [], "version": 2}'),
    "memory that names a module": lambda path: changed(
        path, memory='{"nodes": [["class", "os", "system"]], "version": 1}'
    ),
    "memory of another strategy": lambda path: changed(path, memory=remember(Stranger()).decode()),
}


@pytest.fixture(scope="module")
def with_checkpoints(short_course: Course, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with short_parts(), many_checkpoints():
        left = left_open(short_course, tmp_path_factory.mktemp("checkpoints"), 18)
    assert len(checkpoints_of(left)) == 3
    return left


def check_comes_to_the_same(course: Course, folder: Path) -> None:
    run = Run.again(course, folder, FaultyFiles())
    try:
        run.go_on()
    finally:
        run.leave()
    assert Session.open(folder).summary == course.summary


@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_that_is_not_sound_is_passed_over(
    name: str, short_course: Course, with_checkpoints: Path, tmp_path: Path
) -> None:
    folder = copied(with_checkpoints, tmp_path)
    found = checkpoints_of(folder)
    for path in found[len(name) % 2 :]:
        text = HOSTILE[name](path)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    check_comes_to_the_same(short_course, folder)


def test_a_checkpoint_of_another_session_is_passed_over(
    short_course: Course, with_checkpoints: Path, tmp_path: Path
) -> None:
    other = Course(short_course.events, lambda: Brisk(every=1))
    with many_checkpoints():
        theirs = left_open(other, tmp_path / "other", 8)
    folder = copied(with_checkpoints, tmp_path)
    for path in checkpoints_of(folder):
        path.unlink()
    for path in checkpoints_of(theirs):
        # It would fit, but for what it remembers.
        plain = json.loads(path.read_text().splitlines()[0])
        assert plain["memory"] is not None
        assert plain["command_count"] <= len(Session.open(folder).commands())
        assert plain["input"] < short_course.ends[17]
        shutil.copy(path, folder / "checkpoints")
    check_comes_to_the_same(short_course, folder)


def test_a_session_that_only_has_another_strategy_decides_from_its_start(
    short_course: Course, with_checkpoints: Path, tmp_path: Path
) -> None:
    folder = copied(with_checkpoints, tmp_path)
    resumed = resume(Session.open(folder), no_tape, Stranger())
    resumed.writer.close()
    assert resumed.notice == ""
    assert resumed.engine.input == short_course.ends[17]


def test_checkpoints_of_what_was_lost_are_forgotten(
    short_course: Course, with_checkpoints: Path, tmp_path: Path
) -> None:
    folder = copied(with_checkpoints, tmp_path)
    path = open_segment(folder, "inputs")
    os.truncate(path, borders(path.read_bytes())[2])
    known = sum(len(piece) for piece in Session.open(folder).inputs())
    before = [int(path.name[:12]) for path in checkpoints_of(folder)]
    behind = [at_input for at_input in before if at_input <= known]
    assert len(behind) < len(before)
    with many_checkpoints():
        run = Run.again(short_course, folder)
        assert [int(path.name[:12]) for path in checkpoints_of(folder)] == behind
        run.go_to(18)
        # Those that are kept now are of what happens now.
        now = [int(path.name[:12]) for path in checkpoints_of(folder)]
        assert len(now) == 3
        assert now != behind
        assert now[-1] <= run.engine.input
        run.go_on()
        run.leave()
    assert Session.open(folder).summary == short_course.summary
