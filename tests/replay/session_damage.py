"""Things that happen to the files of a session, none of which a process that dies leaves behind."""

import json
import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowtape.stream.inputs import INPUT_SCHEMA, InputKind
from flowtape.stream.journal import JournalReader, JournalWriter
from flowtape.stream.journal_messages import fitting
from flowtape.stream.record_journals import from_batch, schema_of, to_batch
from flowtape.stream.records import COMMAND, LINK
from tests.replay.courses import Course, Run, copied
from tests.replay.faulty_files import FaultyFiles

Files = dict[str, bytes]
"""A session's folder: the bytes of its files, by their places in it."""

SCHEMAS = {"inputs": INPUT_SCHEMA, "commands": schema_of(COMMAND), "links": schema_of(LINK)}
UNCHECKED = {"links": ("block", "place", "stream_us")}
"""Fields that `verify` does not compare."""

RECORDS = {"commands": COMMAND, "links": LINK}


def files_of(folder: Path) -> Files:
    """The files of a session, without those that someone left half-way, which no one reads."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("[!.]*"))
        if path.is_file() and path.name != "writer.lock" and not path.parent.name.startswith(".")
    }


def put(folder: Path, files: Files, before: Files) -> None:
    """Make a folder that holds `before` hold `files`."""
    for name in before.keys() - files.keys():
        (folder / name).unlink()
    for name, data in files.items():
        if before.get(name) != data:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


class Damager:
    """Damages copies of a session's files, with those of another session at hand."""

    def __init__(self, files: Files, other: Files, rng: random.Random, scratch: Path) -> None:
        self.files = dict(files)
        self.rng = rng
        self._other = other
        self._scratch = scratch

    # Bytes of journals

    def flip(self) -> None:
        """Turn a bit over, not in a message that may be the torn one of an open segment."""
        name = self._segment()
        data = bytearray(self.files[name])
        size = len(data) - (len(self._messages(name)[-1]) if name.endswith(".open") else 0)
        data[self.rng.randrange(size)] ^= 1 << self.rng.randrange(8)
        self.files[name] = bytes(data)

    def swap(self) -> None:
        name, messages = self._long_one(4)
        a, b = self.rng.sample(range(1, len(messages) - 1), 2)
        messages[a], messages[b] = messages[b], messages[a]
        self.files[name] = b"".join(messages)

    def duplicate(self) -> None:
        name, messages = self._long_one(2)
        message = messages[self.rng.randrange(1, len(messages))]
        messages.insert(self.rng.randrange(1, len(messages) + 1), message)
        self.files[name] = b"".join(messages)

    def delete(self) -> None:
        name, messages = self._long_one(3)
        # Without its last message an open segment is an earlier one, which nothing can tell.
        del messages[self.rng.randrange(len(messages) - name.endswith(".open"))]
        self.files[name] = b"".join(messages)

    def splice(self) -> None:
        """Put a batch of another session in the place of one, and maybe all behind it."""
        name, messages = self._long_one(4)
        kind = PurePosixPath(name).parts[0]
        theirs = self._messages(self._segment(self._other, kind, 4), self._other)
        at = self.rng.randrange(1, min(len(messages), len(theirs)) - 1)
        if self.rng.random() < 0.5:
            messages[at] = theirs[at]
        else:
            messages[at:] = theirs[at:]
        self.files[name] = b"".join(messages)

    def splice_segment(self) -> None:
        """Put a segment of another session in the place of one; there is another beside it."""
        kind = self.rng.choice([*RECORDS])
        name = self._segment(kind=kind)
        self.files[name] = self._other[self._segment(self._other, kind)]

    def swap_segments(self) -> None:
        names = self._segments()
        a = self.rng.choice(names)
        b = self.rng.choice([n for n in names if self.files[n] != self.files[a]])
        self.files[a], self.files[b] = self.files[b], self.files[a]

    def lose_segment(self) -> None:
        """Lose a segment that another one follows."""
        newest = {PurePosixPath(name).parent: name for name in self._segments()}
        del self.files[self.rng.choice(sorted({*self._segments()} - {*newest.values()}))]

    # Parts of inputs

    def flip_part(self) -> None:
        name = self._part()
        data = bytearray(self.files[name])
        data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        self.files[name] = bytes(data)

    def shorten_part(self) -> None:
        name = self._part()
        self.files[name] = self.files[name][: self.rng.randrange(len(self.files[name]))]

    def lose_part(self) -> None:
        del self.files[self._part()]

    def swap_parts(self) -> None:
        a, b = self.rng.sample(self._parts(self.files), 2)
        self.files[a], self.files[b] = self.files[b], self.files[a]

    def splice_part(self) -> None:
        self.files[self._part()] = self._other[self.rng.choice(self._parts(self._other))]

    def change_value(self) -> None:
        """Write a part anew, with right checksums, but for one value that an engine reads."""
        name = self._part()
        table = self._table(name)
        column = self.rng.randrange(6)
        values = table.column(column).to_numpy().copy()
        trades = np.flatnonzero(table.column("kind").to_numpy() == InputKind.TRADE)
        # Nothing but trades has a side.
        rows = trades.tolist() if table.column_names[column] == "side" else range(len(values))
        values[self.rng.choice(rows)] += self.rng.choice([1, 2])
        changed = pa.array(values, table.schema.field(column).type)
        self._write(name, table.set_column(column, table.schema.field(column), changed))

    def change_rows(self) -> None:
        """Write a part anew without a row, with one twice, or with two that changed places."""
        name = self._part()
        table = self._table(name)
        rows = list(range(len(table)))
        at = self.rng.randrange(len(rows) - 1)
        how = self.rng.randrange(3)
        if how == 0:
            del rows[at]
        elif how == 1:
            rows.insert(at, at)
        else:
            engines = table.select(table.column_names[:6]).to_pylist()
            later = next((n for n in range(at, len(rows)) if engines[n] != engines[at]), 0)
            rows[at], rows[later] = rows[later], rows[at]
        self._write(name, table.take(rows))

    # What is right in itself

    def change_record(self) -> None:
        """Write commands or links anew, with right checksums, but for one number."""
        kind = self.rng.choice([*RECORDS])
        records = self._records(kind)
        at = self.rng.randrange(len(records))
        raw = records.view(np.uint8).reshape(len(records), -1)
        names = [name for name in records.dtype.names or () if name not in UNCHECKED.get(kind, ())]
        raw[at, self.rng.choice(_bytes_of(records.dtype, names))] ^= 1 << self.rng.randrange(8)
        self._write_records(kind, records)

    def change_records(self) -> None:
        """Write commands or links anew without one, with one twice, or in another order."""
        kind = self.rng.choice([*RECORDS])
        records = self._records(kind)
        rows = list(range(len(records)))
        at, how = self.rng.randrange(len(rows) - 1), self.rng.randrange(3)
        if how == 0:
            del rows[at + self.rng.randrange(2)]
        elif how == 1:
            rows.insert(at, at)
        else:
            rows[at], rows[at + 1] = rows[at + 1], rows[at]
        self._write_records(kind, records[rows])

    def splice_folder(self) -> None:
        """Put all inputs, commands or links of another session in the place of these."""
        kind = self.rng.choice([*SCHEMAS])
        self._drop(kind)
        self.files.update({n: data for n, data in self._other.items() if n.startswith(f"{kind}/")})

    def lose_folder(self) -> None:
        self._drop(self.rng.choice([*SCHEMAS]))

    def _drop(self, kind: str) -> None:
        for name in [name for name in self.files if name.startswith(f"{kind}/")]:
            del self.files[name]

    # What is right, but behind the end or beside the chain

    def add_command(self) -> None:
        records = self._records("commands")
        more = records[-1:].copy()
        more["input"] += 10_000
        self._write_records("commands", np.concatenate([records, more]))

    def add_input(self) -> None:
        name = self._parts(self.files)[-1]
        table = self._table(name)
        self._write(name, pa.concat_tables([table, table.slice(0, 1)]))

    def change_unchecked(self) -> None:
        records = self._records("links")
        records[self.rng.choice(UNCHECKED["links"])][self.rng.randrange(len(records))] ^= 1
        self._write_records("links", records)

    def change_summary(self) -> None:
        summary = json.loads(self.files["summary.json"])
        self.files["summary.json"] = json.dumps({**summary, "net_pnl": "1000000"}).encode()

    # What is there

    def _segments(self, files: Files | None = None, kind: str = "") -> list[str]:
        names = self.files if files is None else files
        return [name for name in names if ".arrows" in name and name.startswith(kind)]

    def _segment(self, files: Files | None = None, kind: str = "", least: int = 0) -> str:
        found = self._segments(files, kind)
        return self.rng.choice([n for n in found if len(self._messages(n, files)) >= least])

    def _long_one(self, least: int) -> tuple[str, list[bytes]]:
        name = self._segment(least=least)
        return name, self._messages(name)

    def _messages(self, name: str, files: Files | None = None) -> list[bytes]:
        """The messages of a segment; a sealed one's end mark sticks to its closing message."""
        files = self.files if files is None else files
        folder, number = PurePosixPath(name).parent, int(PurePosixPath(name).name[:6])
        before = None
        for earlier in range(1, number):
            *_, (_, before) = fitting(files[f"{folder}/{earlier:06}.arrows"], earlier, before)
        data = files[name]
        starts = [start for start, _ in fitting(data, number, before)]
        return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]

    def _parts(self, files: Files) -> list[str]:
        return [name for name in files if name.endswith(".parquet")]

    def _part(self) -> str:
        return self.rng.choice(self._parts(self.files))

    def _table(self, name: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.files[name]))

    def _write(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, write_page_checksum=True)
        self.files[name] = sink.getvalue().to_pybytes()

    def _records(self, kind: str) -> np.ndarray:
        put(self._scratch, {n: d for n, d in self.files.items() if n.startswith(f"{kind}/")}, {})
        batches = JournalReader(self._scratch / kind, SCHEMAS[kind]).batches()
        found = np.concatenate([from_batch(batch, RECORDS[kind]) for _, batch in batches])
        self._clear(kind)
        return found

    def _write_records(self, kind: str, records: np.ndarray) -> None:
        with JournalWriter(self._scratch / kind, SCHEMAS[kind], files=FaultyFiles()) as journal:
            journal.append(to_batch(records))
        self._drop(kind)
        self.files |= files_of(self._scratch)
        self._clear(kind)

    def _clear(self, kind: str) -> None:
        for path in (self._scratch / kind).iterdir():
            path.unlink()


def _bytes_of(dtype: np.dtype[np.void], names: list[str]) -> list[int]:
    """Where the bytes of some fields are in a record, without what is reserved in them."""
    record = np.zeros(1, dtype)
    for name in names:
        record[name] = np.frombuffer(b"\xff" * dtype[name].itemsize, dtype[name])[0]
    kept = from_batch(to_batch(record), dtype).view(np.uint8)
    return [int(at) for at in np.flatnonzero(kept)]


JOURNAL_DAMAGES: list[Callable[[Damager], None]] = [
    *[Damager.flip] * 4,
    Damager.swap,
    Damager.duplicate,
    Damager.delete,
    Damager.splice,
    Damager.splice_segment,
    Damager.swap_segments,
    Damager.lose_segment,
]
"""Of any session."""

PART_DAMAGES: list[Callable[[Damager], None]] = [
    *[Damager.flip_part] * 4,
    Damager.shorten_part,
    Damager.lose_part,
    Damager.swap_parts,
    Damager.splice_part,
    Damager.change_value,
    Damager.change_rows,
    Damager.change_record,
    Damager.change_records,
    Damager.splice_folder,
    Damager.lose_folder,
]
"""Of a session that has ended."""


def left_open(course: Course, root: Path, count: int, *, ended: bool = False) -> Path:
    """A session as a process leaves it that is killed behind so many events, or behind the end."""
    run = Run.begin(course, root / "running", FaultyFiles())
    try:
        for number in range(count):
            run.step(number)
        if ended:
            run.engine.end()
        return copied(run.writer.folder, root / "left")
    finally:
        run.leave()


def open_segment(folder: Path, name: str) -> Path:
    (path,) = (folder / name).rglob("*.arrows.open")
    return path


def borders(data: bytes) -> list[int]:
    """Where a first segment is cut between two messages, the empty one among them."""
    return [0, *(start + stamp.size_bytes for start, stamp in fitting(data, 1, None))]
