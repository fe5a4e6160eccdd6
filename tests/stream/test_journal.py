"""The journal keeps what it acknowledged, and notices what it did not write."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowtape
from flowtape.stream import journal_files
from flowtape.stream.journal import (
    JournalDamagedError,
    JournalError,
    JournalReader,
    JournalWriter,
    OsFiles,
    Recovery,
    recover,
)
from flowtape.stream.journal_messages import END_MARK, finish_stamp, fitting

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("qty_lots", pa.uint32(), nullable=False),
        pa.field("side", pa.int8(), nullable=False),
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ],
    metadata={"symbol": "BTCUSDT"},
)


class QuickFiles(OsFiles):
    """A disk that outlives everything, so that tests need not wait for it."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


def make_batch(seq: int, rows: int | None = None, salt: int = 0) -> pa.RecordBatch:
    rng = np.random.default_rng([seq, salt])
    n = rows or 1 + seq * 7 % 40
    # Columns of -1 look like the marks between messages.
    ids = rng.integers(-1, 2, n) if seq % 3 == 0 else rng.integers(-(1 << 62), 1 << 62, n)
    columns = [
        pa.array(ids, pa.int64()),
        pa.array(rng.integers(0, 1 << 32, n, dtype=np.uint32)),
        pa.array(rng.choice(np.array([-1, 1], np.int8), n)),
        pa.array([rng.bytes(16) for _ in range(n)], pa.binary(16)),
        pa.array(["é" * int(length) for length in rng.integers(0, 9, n)]),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


BATCHES = [make_batch(seq) for seq in range(600)]
LONG_BATCHES = [make_batch(seq, 100) for seq in range(22)]


def write(folder: Path, seqs: range, **options: object) -> JournalWriter:
    writer = JournalWriter(folder, SCHEMA, files=QuickFiles(), **options)
    for seq in seqs:
        assert writer.append(BATCHES[seq]) == seq
    return writer


def check_reads(folder: Path, count: int) -> None:
    read = list(JournalReader(folder, SCHEMA).batches())
    assert [seq for seq, _ in read] == list(range(count))
    assert all(batch.equals(BATCHES[seq]) for seq, batch in read)


def check_goes_on(folder: Path, count: int, more: int = 3) -> None:
    write(folder, range(count, count + more)).close()
    check_reads(folder, count + more)


def message_ends(data: bytes) -> list[int]:
    """Where the messages of a first segment end: the schema's, then the batches'."""
    return [start + stamp.size_bytes for start, stamp in fitting(data, 1, None)]


# What is written is read


@given(
    batches=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=25),
    steps=st.lists(st.sampled_from(["append", "roll", "reopen", "recover"]), max_size=40),
    segment_bytes=st.sampled_from([1, 3000, 1 << 26]),
    sync=st.sampled_from(["none", "batch"]),
    first_seq=st.integers(0, 27),
)
def test_round_trip(batches, steps, segment_bytes, sync, first_seq):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "deep" / "journal"

        def opened() -> JournalWriter:
            return JournalWriter(
                folder, SCHEMA, sync=sync, segment_bytes=segment_bytes, files=QuickFiles()
            )

        writer, kept = opened(), []
        todo = [
            make_batch(i, skip + rows).slice(skip, rows) for i, (rows, skip) in enumerate(batches)
        ]
        for step in [*steps, *["append"] * len(todo)]:
            if step == "append" and todo:
                assert writer.append(todo[0]) == len(kept)
                kept.append(todo.pop(0))
            elif step == "roll":
                writer.roll()
            elif step in {"reopen", "recover"}:
                writer.close()
                rows = sum(batch.num_rows for batch in kept)
                if step == "recover":
                    assert recover(folder, SCHEMA) == Recovery(len(kept), rows, 0)
                writer = opened()
            reader = JournalReader(folder, SCHEMA)
            assert reader.batch_count == writer.batch_count == len(kept)
            assert reader.row_count == writer.row_count == sum(b.num_rows for b in kept)
        writer.close()
        read = list(JournalReader(folder, SCHEMA).batches(first_seq))
        assert [seq for seq, _ in read] == list(range(first_seq, len(kept)))
        assert all(batch.equals(kept[seq]) for seq, batch in read)
        assert all(batch.schema.metadata == SCHEMA.metadata for _, batch in read)


def test_segments_are_arrow_streams(tmp_path):
    write(tmp_path, range(50), segment_bytes=8000).close()
    paths = sorted(tmp_path.glob("*.arrows"))
    assert len(paths) > 3
    batches = []
    for path in paths:
        with pa.ipc.open_stream(path.read_bytes()) as stream:
            assert stream.schema.metadata[b"symbol"] == b"BTCUSDT"
            batches += [batch for batch in stream if batch.num_rows]
    assert all(a.equals(b) for a, b in zip(batches, BATCHES[:50], strict=True))


def test_reading_from_the_middle_leaves_earlier_segments_alone(tmp_path):
    write(tmp_path, range(60), segment_bytes=8000).close()
    first = tmp_path / "000001.arrows"
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    read = [seq for seq, _ in JournalReader(tmp_path, SCHEMA).batches(40)]
    assert read == list(range(40, 60))
    assert recover(tmp_path, SCHEMA, from_seq=40).batch_count == 60
    with pytest.raises(JournalDamagedError):
        recover(tmp_path, SCHEMA)


def test_an_empty_journal(tmp_path):
    folder = tmp_path / "journal"
    assert recover(folder, SCHEMA) == Recovery(0, 0, 0)
    assert not folder.exists()
    JournalWriter(folder, SCHEMA).close()
    assert JournalReader(folder, SCHEMA).batch_count == 0
    assert list(JournalReader(folder, SCHEMA).batches()) == []


@pytest.mark.parametrize(
    "batch",
    [
        BATCHES[0].slice(0, 0),
        pa.record_batch([pa.array([1])], names=["id"]),
        pa.record_batch([pa.array([None], f.type) for f in SCHEMA], schema=SCHEMA),
    ],
)
def test_what_a_journal_does_not_take(tmp_path, batch):
    writer = write(tmp_path, range(1))
    with pytest.raises(ValueError, match="a journal takes"):
        writer.append(batch)
    assert writer.append(BATCHES[1]) == 1
    writer.close()
    check_reads(tmp_path, 2)


def test_the_schema_of_a_journal_stays(tmp_path):
    write(tmp_path, range(3)).close()
    other = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    for use in (recover, JournalWriter):
        with pytest.raises(JournalError, match="other columns"):
            use(tmp_path, other)
    with pytest.raises(JournalError, match="other columns"):
        list(JournalReader(tmp_path, other).batches())
    with pytest.raises(ValueError, match="not double"):
        JournalWriter(tmp_path / "other", pa.schema([("price", pa.float64())]))
    with pytest.raises(ValueError, match="no name"):
        JournalWriter(tmp_path / "other", SCHEMA, journal_id="a b")


def test_a_long_journal_takes_no_more_memory_than_a_short_one(tmp_path):
    batch = make_batch(1, 500)
    writer = JournalWriter(tmp_path, SCHEMA, files=QuickFiles())
    writer.append(batch)
    tracemalloc.start()
    for _ in range(600):
        writer.append(batch)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    writer.close()
    assert (tmp_path / "000001.arrows").stat().st_size > 10_000_000
    assert peak_bytes < 1_000_000


# One writer, many readers


def test_readers_see_every_batch_as_soon_as_it_is_written(tmp_path):
    writer = write(tmp_path, range(0), segment_bytes=9000)
    reader = JournalReader(tmp_path, SCHEMA)
    for seq in range(40):
        assert list(reader.batches(seq)) == []
        writer.append(BATCHES[seq])
        assert [got for got, _ in reader.batches(seq)] == [seq]
    check_reads(tmp_path, 40)
    writer.close()


def test_segments_without_a_message(tmp_path):
    write(tmp_path, range(60), segment_bytes=8000).close()
    (tmp_path / "000003.arrows").write_bytes(END_MARK)
    with pytest.raises(JournalDamagedError, match="000003"):
        list(JournalReader(tmp_path, SCHEMA).batches())
    with pytest.raises(JournalDamagedError, match="000003"):
        recover(tmp_path, SCHEMA)
    shutil.rmtree(tmp_path / "quarantine")
    # A reader may come upon a segment before its first message, and then upon the next.
    (tmp_path / "000003.arrows.open").touch()
    read = [seq for seq, _ in JournalReader(tmp_path, SCHEMA).batches()]
    assert read == list(range(len(read)))
    assert 0 < len(read) < 59


def test_readers_beside_a_busy_writer(tmp_path):
    count = 600

    def work() -> None:
        write(tmp_path, range(count), segment_bytes=20_000).close()

    thread = threading.Thread(target=work)
    thread.start()
    reader, seen = JournalReader(tmp_path, SCHEMA), 0
    while seen < count:
        alive = thread.is_alive()
        for seq, batch in reader.batches(seen):
            assert seq == seen
            assert batch.equals(BATCHES[seq])
            seen += 1
        assert alive or seen == count
    thread.join()


def test_one_writer_at_a_time(tmp_path):
    writer = write(tmp_path, range(3))
    for use in (JournalWriter, recover):
        with pytest.raises(JournalError, match=f"written by process {os.getpid()}"):
            use(tmp_path, SCHEMA)
    code = """
import pathlib, pyarrow, sys
from flowtape.stream.journal import JournalWriter
JournalWriter(pathlib.Path(sys.argv[1]), pyarrow.schema([("id", pyarrow.int64())]))
"""
    other = run_python(code, tmp_path)
    assert f"JournalError: {tmp_path} is being written by process {os.getpid()}" in other.stderr
    writer.append(BATCHES[3])
    writer.close()
    with pytest.raises(JournalError, match="was closed"):
        writer.append(BATCHES[4])
    check_goes_on(tmp_path, 4)


def test_an_unfinished_journal_is_recovered_before_it_is_gone_on_with(tmp_path):
    writer = write(tmp_path / "live", range(3))
    shutil.copytree(tmp_path / "live", tmp_path / "left")
    writer.close()
    with pytest.raises(JournalError, match="recover the journal first"):
        JournalWriter(tmp_path / "left", SCHEMA)
    assert recover(tmp_path / "left", SCHEMA).batch_count == 3
    check_goes_on(tmp_path / "left", 3)


# Torn ends


def torn_journal(folder: Path) -> bytes:
    with JournalWriter(folder, SCHEMA) as writer:
        for batch in LONG_BATCHES:
            writer.append(batch)
        data = (folder / "000001.arrows.open").read_bytes()
    assert len(data) > 1 << 16
    return data


def check_cuts(folder: Path, cuts: list[int], data: bytes) -> None:
    ends = message_ends(data)
    for i, cut in enumerate(cuts):
        (folder / "000001.arrows").unlink(missing_ok=True)
        (folder / "000001.arrows.open").write_bytes(data[:cut])
        whole = [end for end in ends if end <= cut]
        count = max(0, len(whole) - 1)
        torn = cut - (whole[-1] if whole else 0)
        assert recover(folder, SCHEMA, files=QuickFiles()) == Recovery(count, 100 * count, torn)
        if i % 20 == 0:
            assert recover(folder, SCHEMA, files=QuickFiles()) == Recovery(count, 100 * count, 0)
            read = [batch for _, batch in JournalReader(folder, SCHEMA).batches()]
            assert len(read) == count
            assert all(a.equals(b) for a, b in zip(read, LONG_BATCHES, strict=False))


def test_a_torn_end_is_cut_at_the_last_whole_batch(tmp_path):
    data = torn_journal(tmp_path)
    near = {end + d for end in message_ends(data) for d in (-8, -1, 0, 1, 4, 8)}
    cuts = {0, *random.Random(5).sample(range(len(data) - (1 << 16), len(data) + 1), 1100)}
    check_cuts(tmp_path, sorted(cuts | {cut for cut in near if 0 <= cut <= len(data)}), data)


@pytest.mark.deep
def test_a_torn_end_at_every_byte(tmp_path):
    data = torn_journal(tmp_path)
    check_cuts(tmp_path, list(range(len(data) - (1 << 16), len(data) + 1)), data)


def test_an_end_of_zeros_is_torn(tmp_path):
    data = torn_journal(tmp_path)
    *_, end, last_end, size = message_ends(data)
    for cut in range(end, last_end, 67):
        (tmp_path / "000001.arrows").unlink(missing_ok=True)
        (tmp_path / "000001.arrows.open").write_bytes(data[:cut] + bytes(size - cut))
        assert JournalReader(tmp_path, SCHEMA).batch_count == 20
        assert recover(tmp_path, SCHEMA, files=QuickFiles()) == Recovery(20, 2000, size - end)


def test_a_seal_broken_off_anywhere_is_finished(tmp_path):
    write(tmp_path, range(5)).close()
    sealed = (tmp_path / "000001.arrows").read_bytes()
    end = message_ends(sealed)[-2]
    for cut in range(end, len(sealed) + 1):
        (tmp_path / "000001.arrows").unlink()
        (tmp_path / "000001.arrows.open").write_bytes(sealed[:cut])
        assert JournalReader(tmp_path, SCHEMA).batch_count == 5
        cut_bytes = 0 if cut == len(sealed) else (cut - end) % (len(sealed) - len(END_MARK) - end)
        assert recover(tmp_path, SCHEMA, files=QuickFiles()).bytes_cut == cut_bytes
        assert (tmp_path / "000001.arrows").read_bytes() == sealed


# Damage


@dataclass
class Damaged:
    """The files of a journal with something done to them."""

    files: dict[str, bytes]
    rng: random.Random
    other: dict[str, bytes]
    only_last_batch: bool = False

    def pick(self) -> tuple[str, list[bytes]]:
        name = self.rng.choice(sorted(self.files))
        number = int(name[:6])
        return name, cut_messages(self.files[name], number, self.files)

    def flip(self) -> None:
        name = self.rng.choice(sorted(self.files))
        data = bytearray(self.files[name])
        at = self.rng.randrange(len(data))
        data[at] ^= 1 << self.rng.randrange(8)
        *_, last = cut_messages(self.files[name], int(name[:6]), self.files)
        self.only_last_batch = name.endswith(".open") and at >= len(data) - len(last)
        self.files[name] = bytes(data)

    def swap(self) -> None:
        name, messages = self.pick()
        a, b = self.rng.sample(range(1, len(messages)), 2)
        messages[a], messages[b] = messages[b], messages[a]
        self.files[name] = b"".join(messages)

    def duplicate(self) -> None:
        name, messages = self.pick()
        message = messages[self.rng.randrange(1, len(messages))]
        messages.insert(self.rng.randrange(1, len(messages) + 1), message)
        self.files[name] = b"".join(messages)

    def delete(self) -> None:
        # Without its last message an open journal is an earlier one, which nothing can tell.
        name, messages = self.pick()
        del messages[self.rng.randrange(len(messages) - name.endswith(".open"))]
        self.files[name] = b"".join(messages)

    def splice(self) -> None:
        name, messages = self.pick()
        others = cut_messages(self.other[name], int(name[:6]), self.other)
        differing = [i for i, message in enumerate(messages[:-1]) if message != others[i]]
        at = self.rng.choice(differing)
        messages[at] = others[at]
        self.files[name] = b"".join(messages)

    def splice_segment(self) -> None:
        name = self.rng.choice(sorted(self.files)[:-1])
        self.files[name] = self.other[name]

    def swap_segments(self) -> None:
        a, b = self.rng.sample(sorted(self.files), 2)
        self.files[a], self.files[b] = self.files[b], self.files[a]

    def lose_segment(self) -> None:
        del self.files[self.rng.choice(sorted(self.files)[:-1])]

    def shorten_sealed(self) -> None:
        name = self.rng.choice(sorted(self.files)[:-1])
        self.files[name] = self.files[name][: self.rng.randrange(len(self.files[name]))]

    def insert(self) -> None:
        name = self.rng.choice(sorted(self.files))
        data = self.files[name]
        *_, last = cut_messages(data, int(name[:6]), self.files)
        at = self.rng.randrange(len(data) - len(last) * name.endswith(".open"))
        self.files[name] = data[:at] + self.rng.randbytes(self.rng.randrange(1, 50)) + data[at:]


DAMAGES = [
    *[Damaged.flip] * 5,
    Damaged.swap,
    Damaged.duplicate,
    Damaged.delete,
    Damaged.splice,
    Damaged.splice_segment,
    Damaged.swap_segments,
    Damaged.lose_segment,
    Damaged.shorten_sealed,
    Damaged.insert,
]


def cut_messages(data: bytes, number: int, files: dict[str, bytes]) -> list[bytes]:
    """The messages of a segment; a sealed one's end mark sticks to its closing message."""
    before = None
    for earlier in range(1, number):
        *_, (_, before) = fitting(files[f"{earlier:06}.arrows"], earlier, before)
    found = [(start, start + s.size_bytes) for start, s in fitting(data, number, before)]
    return [data[start:end] for start, end in found[:-1]] + [data[found[-1][0] :]]


# Batches in the journals that are damaged.
COUNT = 11


def whole_journal(folder: Path, journal_id: str, salt: int = 0) -> dict[str, bytes]:
    writer = JournalWriter(folder, SCHEMA, journal_id=journal_id, files=QuickFiles())
    for seq in range(COUNT):
        if seq % 3 == 0:
            writer.roll()
        writer.append(make_batch(seq, salt=salt) if salt else BATCHES[seq])
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.arrows*"))}
    writer.close()
    assert len(files) == 4
    return files


def read_until_damage(
    folder: Path,
) -> tuple[list[tuple[int, pa.RecordBatch]], JournalDamagedError | None]:
    read = []
    try:
        for numbered in JournalReader(folder, SCHEMA).batches():
            read.append(numbered)
    except JournalDamagedError as error:
        return read, error
    return read, None


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder hold these segments and no others; a good part of them mostly is there."""
    for path in folder.rglob("*.arrows*"):
        if path.parent != folder or files.get(path.name) != path.read_bytes():
            path.unlink()
    for name, data in files.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(data)


def check_damages(tmp_path: Path, count: int, seed: int) -> None:
    whole = whole_journal(tmp_path / "one", "one")
    others = [
        whole_journal(tmp_path / "two", "two"),
        # Told apart by what is in it alone, as a journal restored and gone on with twice is.
        whole_journal(tmp_path / "fork", "one", salt=1),
    ]
    folder = tmp_path / "damaged"
    folder.mkdir()
    for i in range(count):
        damage = DAMAGES[i % len(DAMAGES)]
        damaged = Damaged(dict(whole), random.Random(f"{seed} {i}"), others[i // len(DAMAGES) % 2])
        damage(damaged)
        put(folder, damaged.files)
        hint = f"{damage.__name__} {i}"
        read, noticed = read_until_damage(folder)
        if damaged.only_last_batch:
            assert noticed is None, hint
            assert len(read) == COUNT - 1, hint
        else:
            assert noticed is not None, hint
            assert noticed.first_unknown_seq == len(read), hint
        # Where two journals part, only what comes next can tell which of them it is.
        if damaged.other is not others[1] or "splice" not in damage.__name__:
            assert all(batch.equals(BATCHES[seq]) for seq, batch in read), hint
        assert [seq for seq, _ in read] == list(range(len(read))), hint
        if damaged.only_last_batch:
            assert recover(folder, SCHEMA, files=QuickFiles()).batch_count == COUNT - 1, hint
            continue
        for _ in range(1 + (i % 4 == 0)):
            with pytest.raises(JournalDamagedError) as caught:
                recover(folder, SCHEMA, files=QuickFiles())
            assert caught.value.first_unknown_seq == len(read), hint
        # Nothing was cut: every byte is where it was, or as it was in quarantine.
        found = {path.name: path.read_bytes() for path in folder.rglob("*.arrows*")}
        assert found == damaged.files, hint
        if damage is Damaged.lose_segment:
            with pytest.raises(JournalDamagedError, match="missing"):
                _ = JournalReader(folder, SCHEMA).batch_count


def test_damage_is_noticed_and_never_cut(tmp_path):
    check_damages(tmp_path, 700, seed=1)


@pytest.mark.deep
def test_much_damage_is_noticed_and_never_cut(tmp_path):
    check_damages(tmp_path, 20_000, seed=2)


def test_the_end_of_a_sealed_segment_is_never_torn(tmp_path):
    write(tmp_path / "whole", range(8), segment_bytes=4000).close()
    path = max((tmp_path / "whole").glob("*.arrows"))
    data = path.read_bytes()
    for cut in (0, 7, len(data) // 2, *range(len(data) - 700, len(data), 90), len(data) - 1):
        folder = tmp_path / f"{cut}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / path.name).write_bytes(data[:cut])
        assert read_until_damage(folder)[1] is not None
        with pytest.raises(JournalDamagedError) as caught:
            recover(folder, SCHEMA)
        assert caught.value.path.read_bytes() == data[:cut]


def test_values_that_were_not_given_are_noticed(tmp_path):
    """The values have a checksum of their own, from before they became a message."""
    writer = write(tmp_path, range(3))
    path = tmp_path / "000001.arrows.open"
    data = bytearray(path.read_bytes())
    writer.close()
    *_, start, end = message_ends(bytes(data))
    data[data.index(BATCHES[2]["key"][0].as_py(), start)] ^= 1
    finish_stamp(data, start, end)
    (tmp_path / "000001.arrows").unlink()
    path.write_bytes(data)
    read, noticed = read_until_damage(tmp_path)
    assert len(read) == 2
    assert noticed is not None
    assert (noticed.offset, noticed.first_unknown_seq) == (start, 2)


def test_a_good_copy_ends_the_quarantine(tmp_path):
    write(tmp_path, range(60), segment_bytes=8000).close()
    path = tmp_path / "000002.arrows"
    good = path.read_bytes()
    for round_number in (1, 2):
        bad = bytearray(good)
        bad[round_number * 500] ^= 4
        path.write_bytes(bad)
        with pytest.raises(JournalDamagedError, match="damaged at byte") as caught:
            recover(tmp_path, SCHEMA)
        for use in (
            lambda: JournalWriter(tmp_path, SCHEMA),
            lambda: list(JournalReader(tmp_path, SCHEMA).batches()),
            lambda: JournalReader(tmp_path, SCHEMA).row_count,
        ):
            with pytest.raises(JournalDamagedError, match=r"lies in .*quarantine"):
                use()
        assert caught.value.path.parent.name == "quarantine"
        assert caught.value.path.read_bytes() == bad
        assert not path.exists()
        path.write_bytes(good)
        assert recover(tmp_path, SCHEMA).batch_count == 60
    assert len(list((tmp_path / "quarantine").iterdir())) == 2
    check_goes_on(tmp_path, 60)


# Disks that fail


FAILURES = ["ENOSPC", "EIO", "short"]


class FailingFiles(QuickFiles):
    """Fails at the `at`-th call from 1 on, and at no other."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.calls = at, how, 0

    def _due(self) -> bool:
        self.calls += 1
        return self.calls == self.at

    def _error(self) -> OSError:
        number = errno.EIO if self.how == "EIO" else errno.ENOSPC
        return OSError(number, os.strerror(number))

    def write(self, descriptor: int, data: memoryview) -> int:
        if not self._due():
            return super().write(descriptor, data)
        taken = super().write(descriptor, data[: len(data) * 2 // 3])
        if self.how == "short":
            return taken
        raise self._error()


def failing(name: str):
    def call(self: FailingFiles, *arguments: object) -> object:
        if self._due():
            raise self._error()
        return getattr(QuickFiles, name)(self, *arguments)

    return call


for _name in (
    *("create", "append", "sync", "truncate"),
    *("rename", "remove", "make_folder", "sync_folder"),
):
    setattr(FailingFiles, _name, failing(_name))


def append_until_it_fails(folder: Path, files: OsFiles) -> tuple[int, JournalError]:
    """Return how many batches were acknowledged, and the error that a dead writer repeats."""
    acknowledged, writer, failure = 0, None, None
    try:
        writer = JournalWriter(folder, SCHEMA, sync="batch", segment_bytes=3000, files=files)
        while True:
            writer.append(BATCHES[acknowledged])
            acknowledged += 1
    except JournalError as error:
        failure = error
    if writer is not None:
        for call in (lambda: writer.append(BATCHES[0]), writer.roll, writer.close):
            with pytest.raises(JournalError) as again:
                call()
            assert again.value is failure
    return acknowledged, failure


def recover_in_spite_of_failures(folder: Path, how: str) -> Recovery:
    """Recover on a disk that fails once in each attempt, a call later each time."""
    for at in range(1, 50):
        try:
            return recover(folder, SCHEMA, files=FailingFiles(at, how))
        except JournalDamagedError:
            raise
        except JournalError:
            pass
    raise AssertionError("a recovery takes few calls")


def recover_once(folder: Path, _: str) -> Recovery:
    return recover(folder, SCHEMA, files=QuickFiles())


def check_failure(folder: Path, at: int, how: str) -> None:
    files = FailingFiles(at, how)
    acknowledged, error = append_until_it_fails(folder, files)
    assert str(folder) in str(error)
    assert ("Input/output error" if how == "EIO" else "the disk is full") in str(error)
    # Giving the descriptor back is all that a dead writer does.
    assert files.calls == at
    recover_badly = recover_in_spite_of_failures if at % 2 else recover_once
    count = recover_badly(folder, how).batch_count
    assert acknowledged <= count <= acknowledged + 1
    check_goes_on(folder, count)


def test_a_failing_disk_loses_nothing_acknowledged(tmp_path):
    for at in range(1, 101):
        check_failure(tmp_path / f"{at}", at, FAILURES[at % 3])


@pytest.mark.deep
@pytest.mark.parametrize("how", FAILURES)
def test_a_disk_that_fails_anywhere(tmp_path, how):
    for at in range(1, 501):
        check_failure(tmp_path / f"{at}", at, how)


def test_a_failed_sync_of_the_thread_is_told_at_the_next_call(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_files, "_SYNC_DELAY_S", 0)
    tried = threading.Event()

    class Failing(QuickFiles):
        def sync(self, descriptor: int) -> None:
            # The system tells of a lost write once.
            if not tried.is_set():
                tried.set()
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer = JournalWriter(tmp_path, SCHEMA, sync="1s", files=Failing())
    writer.append(BATCHES[0])
    assert tried.wait(60)
    with pytest.raises(JournalError, match=r"000001.arrows.open: Input/output error"):
        writer.close()
    assert recover(tmp_path, SCHEMA).batch_count == 1
    check_goes_on(tmp_path, 1)


def test_when_batches_are_synced(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_files, "_SYNC_DELAY_S", 0)

    class Counting(QuickFiles):
        def __init__(self) -> None:
            self.count, self.synced = 0, threading.Event()

        def sync(self, descriptor: int) -> None:
            self.count += 1
            self.synced.set()

    for sync, durable, expected in (("none", False, 0), ("none", True, 5), ("batch", False, 5)):
        files = Counting()
        writer = JournalWriter(tmp_path / f"{sync}{durable}", SCHEMA, sync=sync, files=files)
        for seq in range(5):
            writer.append(BATCHES[seq], durable=durable)
        assert files.count == expected
        writer.close()
    files = Counting()
    writer = JournalWriter(tmp_path / "1s", SCHEMA, sync="1s", files=files)
    for seq in range(5):
        files.synced.clear()
        writer.append(BATCHES[seq])
        assert files.synced.wait(60)
    writer.close()


def test_writers_wait_for_a_disk_that_stalls(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_files, "_SYNC_DELAY_S", 0)
    monkeypatch.setattr(journal_files, "STALLED_S", 0.05)

    class Stalling(QuickFiles):
        def __init__(self) -> None:
            self.stalls, self.answers = threading.Event(), threading.Event()

        def sync(self, descriptor: int) -> None:
            self.stalls.set()
            assert self.answers.wait(60)

    files = Stalling()
    writer = JournalWriter(tmp_path, SCHEMA, sync="1s", files=files)
    writer.append(BATCHES[0])
    assert files.stalls.wait(60)
    behind = threading.Event()

    def write_more() -> None:
        seq = 1
        while not files.answers.is_set():
            writer.append(BATCHES[seq % 5])
            seq += 1
            time.sleep(0.01)
        behind.set()

    thread = threading.Thread(target=write_more)
    thread.start()
    count = -1
    while writer.batch_count > count:
        count = writer.batch_count
        time.sleep(0.3)
    assert not behind.is_set()
    files.answers.set()
    thread.join(60)
    assert behind.is_set()
    writer.close()
    assert [seq for seq, _ in JournalReader(tmp_path, SCHEMA).batches()] == list(range(count))


def test_a_broken_off_write_ends_the_writer(tmp_path):
    class Interrupted(QuickFiles):
        def write(self, descriptor: int, data: memoryview) -> int:
            if len(data) == sizes[-1]:
                super().write(descriptor, data[:100])
                raise KeyboardInterrupt
            sizes.append(len(data))
            return super().write(descriptor, data)

    sizes = [0]
    writer = JournalWriter(tmp_path, SCHEMA, files=Interrupted())
    writer.append(BATCHES[0])
    with pytest.raises(KeyboardInterrupt):
        writer.append(BATCHES[0])
    with pytest.raises(JournalError, match="broken off"):
        writer.append(BATCHES[1])
    assert recover(tmp_path, SCHEMA) == Recovery(1, BATCHES[0].num_rows, 100)


# Killed writers

# Forks a writer for each line it reads, so that Python need not start for each.
NURSERY = """
import os, random, sys
from tests.stream.test_journal import *

def say(number):
    os.write(1, number.to_bytes(8, "little"))

def live(folder, seed):
    rng = random.Random(seed)
    say(os.getpid())
    recover(folder, SCHEMA)
    sync, size = rng.choice(["none", "1s", "batch"]), rng.choice([4000, 50000])
    writer = JournalWriter(folder, SCHEMA, sync=sync, segment_bytes=size)
    while True:
        say(writer.append(BATCHES[writer.batch_count % len(BATCHES)]))
        if rng.random() < 0.05:
            writer.roll()

for line in sys.stdin:
    child = os.fork()
    if not child:
        live(Path(sys.argv[1]), line)
    os.waitpid(child, 0)
    say(END)
"""
END = (1 << 64) - 1


def check_kills(folder: Path, count: int) -> None:
    rng = random.Random(9)
    command = [sys.executable, "-c", NURSERY, str(folder)]
    acknowledged = 0
    with subprocess.Popen(
        command,
        env=python_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None

        def heard() -> int:
            record = nursery.stdout.read(8)
            assert len(record) == 8
            return int.from_bytes(record, "little")

        unsure = 0
        for i in range(count):
            nursery.stdin.write(b"%d\n" % i)
            child = heard()
            # A killed child may have written one batch that it could not tell of.
            unsure += 1
            patience, killed = rng.choice([0, 1, rng.randrange(150)]), False
            while True:
                if not killed and patience == 0:
                    os.kill(child, signal.SIGKILL)
                    killed = True
                patience -= 1
                if (seq := heard()) == END:
                    break
                assert acknowledged <= seq < acknowledged + unsure
                acknowledged, unsure = seq + 1, 1
            assert killed
            if i % 2:
                continue  # the next child recovers, or is killed at it
            recovery = recover(folder, SCHEMA)
            assert acknowledged <= recovery.batch_count <= acknowledged + unsure
            acknowledged, unsure = recovery.batch_count, 0
            read = list(JournalReader(folder, SCHEMA).batches())
            assert [seq for seq, _ in read] == list(range(acknowledged))
            assert all(batch.equals(BATCHES[seq % len(BATCHES)]) for seq, batch in read)
        assert acknowledged > 10 * count
        nursery.stdin.close()


def test_killed_writers_lose_nothing_acknowledged(tmp_path):
    check_kills(tmp_path, 10)


@pytest.mark.deep
def test_many_killed_writers_lose_nothing_acknowledged(tmp_path):
    check_kills(tmp_path, 200)


def python_environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    package = Path(flowtape.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": f"{package}:{root}"}


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, env=python_environment(), capture_output=True, text=True, check=False
    )
