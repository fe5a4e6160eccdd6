"""The fan-out of a session: every reader gets every input once and in order."""

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream import fanout as fanout_module
from flowtape.stream import input_frames, input_log
from flowtape.stream.config import EngineConfig
from flowtape.stream.errors import SourceError
from flowtape.stream.fanout import Fanout
from flowtape.stream.genesis import Genesis
from flowtape.stream.input_frames import DamagedMessageError, frames_of, inputs_of, joined
from flowtape.stream.input_log import InputLog, read_inputs
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.journal_files import JournalError
from flowtape.stream.session import SessionWriter
from tests.replay.faulty_files import Fault, FaultyFiles
from tests.stream.tapes import INSTRUMENT
from tests.stream.test_input_log import made, same

ID = "01K9ZZZZZZZZZZZZZZZZZZZZZZ"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_log, "PART_INPUTS", 64)
    monkeypatch.setattr(input_frames, "FRAME_ROWS", 16)
    monkeypatch.setattr(fanout_module, "MESSAGE_BYTES", 1200)
    monkeypatch.setattr(fanout_module, "BLOCK_INPUTS", 100)


@dataclass
class Reader:
    """One of many readers; all that is known of it is the number it wants next."""

    first: int
    at: int
    got: list[Inputs]

    def read(self, fanout: Fanout) -> bool:
        """Take one message; tell whether there was one."""
        message = fanout.recent(self.at)
        if message is None:
            if fanout.waits(self.at):
                return False
            message = fanout.older(self.at)
        inputs = inputs_of(ID, self.at, message.data)
        assert message.first == self.at
        assert message.next == self.at + len(inputs) > self.at
        self.got.append(inputs)
        self.at = message.next
        return True


class Publisher:
    """Appends to a log and publishes it, as a session's writer does."""

    def __init__(self, folder: Path, whole: Inputs, ring_bytes: int) -> None:
        self.whole, self.at = whole, 0
        self.log = InputLog(folder)
        self.fanout = Fanout(folder, ID, ring_bytes=ring_bytes)

    def publish(self, count: int) -> None:
        inputs = self.whole.slice(self.at, self.at + count)
        first = self.log.input_count + 1
        self.log.append(inputs)
        self.fanout.publish(first, inputs)
        self.at += len(inputs)


Step = tuple[str, int, int]


def steps() -> st.SearchStrategy[list[Step]]:
    step = st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 90), st.just(0)),
        st.tuples(st.just("single"), st.integers(1, 30), st.just(0)),
        st.tuples(st.just("join"), st.integers(0, 100), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 7), st.integers(1, 5)),
    )
    return st.lists(step, max_size=60)


@given(steps=steps(), ring_bytes=st.integers(1, 20_000))
def test_every_reader_gets_all_from_where_it_began_in_order_and_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], ring_bytes: int
) -> None:
    whole = made(700)
    publisher = Publisher(tmp_path_factory.mktemp("log") / "inputs", whole, ring_bytes)
    fanout = publisher.fanout
    readers: list[Reader] = []
    for what, a, b in steps:
        if what == "publish":
            publisher.publish(a)
        elif what == "single":
            for _ in range(a):
                publisher.publish(1)
        elif what == "join":
            # Anywhere between the first input and the one that comes next.
            first = 1 + a * publisher.at // 100
            readers.append(Reader(first, first, []))
        elif readers:
            for _ in range(b):
                readers[a % len(readers)].read(fanout)
    readers.append(Reader(1, 1, []))
    for reader in readers:
        while reader.read(fanout):
            pass
        got = Inputs.concat([whole.slice(0, 0), *reader.got])
        assert same(got, whole.slice(reader.first - 1, publisher.at))
    publisher.log.close()


def test_a_session_that_has_ended_is_read_from_its_log(tmp_path: Path) -> None:
    whole = Inputs.concat([made(300), Inputs.one(InputKind.END)])
    log = InputLog(tmp_path)
    log.append(whole)
    log.close()
    fanout = Fanout(tmp_path, ID, len(whole), ended=True)
    for first in (1, 150, len(whole)):
        reader = Reader(first, first, [])
        while reader.read(fanout):
            pass
        assert same(Inputs.concat(reader.got), whole.slice(first - 1, len(whole)))
    assert fanout.closed


def test_what_is_in_memory_is_bounded_whatever_the_readers(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "inputs", made(5_000), 10_000)
    readers = [Reader(1, 1, []) for _ in range(20)]
    for _ in range(500):
        publisher.publish(10)
    fanout = publisher.fanout
    for number, reader in enumerate(readers):
        for _ in range(number):
            reader.read(fanout)
    held = [*fanout._ring._frames, *(f for frames in fanout._blocks.values() for f in frames)]
    assert len(fanout._blocks) <= fanout_module.BLOCKS_KEPT
    part_rows = input_log.PART_INPUTS + fanout_module.BLOCK_INPUTS
    most = 10_000 + fanout_module.BLOCKS_KEPT * part_rows * input_frames.ROW.itemsize
    assert sum(len(frame.rows) for frame in held) <= most
    publisher.log.close()


def test_the_publisher_waits_for_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader hangs in the middle of the log; inputs are published all the same."""
    publisher = Publisher(tmp_path / "inputs", made(600), 1)
    publisher.publish(299)
    publisher.publish(1)
    begun, go_on = threading.Event(), threading.Event()

    def stuck(folder: Path, first: int) -> Iterator[Inputs]:
        begun.set()
        assert go_on.wait(60)
        yield from read_inputs(folder, first)

    monkeypatch.setattr(fanout_module, "read_inputs", stuck)
    reader = Reader(1, 1, [])
    thread = threading.Thread(target=reader.read, args=[publisher.fanout])
    thread.start()
    assert begun.wait(60)
    publisher.publish(200)
    newest = publisher.fanout.recent(301)
    assert newest is not None
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    while reader.read(publisher.fanout):
        pass
    assert same(Inputs.concat(reader.got), publisher.whole.slice(0, 500))
    publisher.log.close()


def test_readers_on_threads_beside_a_publisher(tmp_path: Path) -> None:
    whole = Inputs.concat([made(3000), Inputs.one(InputKind.END)])
    publisher = Publisher(tmp_path / "inputs", whole, 3_000)
    fanout = publisher.fanout
    news = threading.Condition()

    def tell() -> None:
        with news:
            news.notify_all()

    fanout.listeners.append(tell)
    readers = [Reader(1, 1, []) for _ in range(4)]

    def follow(reader: Reader) -> None:
        while True:
            if reader.read(fanout):
                continue
            with news:
                if fanout.waits(reader.at):
                    if fanout.closed:
                        return
                    news.wait(30)

    threads = [threading.Thread(target=follow, args=[reader]) for reader in readers]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        while publisher.at < len(whole):
            publisher.publish(7)
    finally:
        sys.setswitchinterval(interval)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for reader in readers:
        assert same(Inputs.concat(reader.got), whole)
    publisher.log.close()


def test_a_message_is_encoded_once_for_all_who_want_it(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "inputs", made(60), 20_000)
    publisher.publish(10)
    first = publisher.fanout.recent(1)
    assert publisher.fanout.recent(1) is first
    publisher.publish(1)
    assert publisher.fanout.recent(1) is not first
    publisher.log.close()


def test_a_log_that_was_deleted_is_told(tmp_path: Path) -> None:
    fanout = Fanout(tmp_path / "gone", ID, 50)
    with pytest.raises(SourceError, match="has lost the inputs from 7 on"):
        fanout.older(7)


def test_inputs_are_published_behind_those_before(tmp_path: Path) -> None:
    fanout = Fanout(tmp_path, ID)
    with pytest.raises(ValueError, match="input 2 was published behind input 0"):
        fanout.publish(2, made(10))
    fanout.publish(1, made(10).slice(0, 0))
    assert fanout.last_input == 0
    assert fanout.recent(1) is None


@given(first=st.integers(1, 1 << 40), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_a_message_says_what_was_packed(first: int, cuts: list[int]) -> None:
    whole = made(400)
    frames, at = [], 0
    for cut in cuts:
        frames += frames_of(ID, first + at, whole.slice(at, at + cut))
        at += cut
    message = joined(frames)
    assert (message.first, message.next) == (first, first + at)
    found = inputs_of(ID, first, message.data)
    assert same(found, whole.slice(0, at))
    for f in fields(Inputs):
        column = getattr(found, f.name)
        assert column.dtype == getattr(whole, f.name).dtype
        assert column.flags.c_contiguous
        assert column.flags.aligned


@pytest.mark.parametrize("cuts", [[1], [3, 1, 20]])
def test_no_damaged_byte_goes_unnoticed(cuts: list[int]) -> None:
    whole, frames, at = made(60), [], 0
    for cut in cuts:
        frames += frames_of(ID, 9 + at, whole.slice(at, at + cut))
        at += cut
    good = joined(frames).data
    for place in range(len(good)):
        for bit in (1, 0x80):
            bad = good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :]
            with pytest.raises(DamagedMessageError):
                inputs_of(ID, 9, bad)
    for length in range(len(good)):
        with pytest.raises(DamagedMessageError):
            inputs_of(ID, 9, good[:length])
    for other, first in ((ID[:-1] + "0", 9), (ID, 10)):
        with pytest.raises(DamagedMessageError):
            inputs_of(other, first, good)
    with pytest.raises(DamagedMessageError):
        inputs_of(ID, 9, good + b"\0")


def test_a_reader_far_behind_gets_large_messages(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "inputs", made(200), 1 << 20)
    for _ in range(200):
        publisher.publish(1)
    message = publisher.fanout.recent(1)
    assert message is not None
    assert len(inputs_of(ID, 1, message.data)) == -(-1200 // input_frames.ROW.itemsize)
    assert np.array_equal(inputs_of(ID, 1, message.data).kind, publisher.whole.kind[:24])
    publisher.log.close()


def test_a_session_publishes_what_its_log_has_taken_and_nothing_else(tmp_path: Path) -> None:
    genesis = Genesis((INSTRUMENT,), EngineConfig(), strategy=None, tapes=())
    files = FaultyFiles(Fault("write", at=4, of="inputs"))
    writer = SessionWriter.create(tmp_path, genesis, datetime.now(UTC), files=files)
    fanout = Fanout(writer.folder / "inputs", writer.folder.name)
    writer.published = fanout.publish
    whole = made(100)
    # The schema is written first, then these, then no more.
    writer.inputs(whole.slice(0, 7))
    writer.inputs(whole.slice(7, 20))
    for _ in range(2):
        with pytest.raises(JournalError, match="the disk is full"):
            writer.inputs(whole.slice(20, 30))
        assert fanout.last_input == 20
        assert sum(map(len, read_inputs(writer.folder / "inputs"))) == 20
    with suppress(JournalError):
        writer.close()
