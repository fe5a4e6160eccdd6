"""Taking up a journal whose writer was killed, or whose disk was full."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from flowtape.stream.journal_files import (
    FolderLock,
    OsFiles,
    Segment,
    explain,
    put_in_quarantine,
    segment_path,
    segments,
    write_whole,
)
from flowtape.stream.journal_messages import (
    END_MARK,
    NO_CRC,
    Encoder,
    Stamp,
    check_schema,
    closing_of,
    damaged,
    is_sealed_end,
    misfit,
    missing,
    opening_of,
    walk,
    whole_message_behind,
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover` found.

    Attributes:
        batch_count: batches in the journal; the next one gets this number.
        row_count: rows in them.
        bytes_cut: bytes behind the last whole batch that a broken off write had left.
    """

    batch_count: int
    row_count: int
    bytes_cut: int


def recover(
    folder: Path, schema: pa.Schema, *, from_seq: int = 0, files: OsFiles | None = None
) -> Recovery:
    """Make a journal fit to be gone on with, whatever moment its writer ended at.

    Cuts what a broken off write left at the very end and seals the last segment. May be broken off
    itself at any moment, and run as often as one likes.

    Args:
        folder: the journal's folder; nothing is done when it does not exist.
        schema: the journal's schema.
        from_seq: of sealed segments that end before this batch only both ends are checked.
        files: access to the disk.

    Raises:
        JournalDamagedError: there are bytes that no broken off write leaves. The segment was moved
            to `quarantine/` as it is; this is raised again until a good copy is in its place.
        JournalError: a writer is at work, the disk failed, or the journal has another schema.
    """
    if not folder.is_dir():
        return Recovery(0, 0, 0)
    try:
        lock = FolderLock(folder)
        try:
            return _recover(folder, schema, from_seq, files or OsFiles())
        finally:
            lock.release()
    except OSError as error:
        raise explain(folder, error) from error


def _recover(folder: Path, schema: pa.Schema, from_seq: int, files: OsFiles) -> Recovery:
    found = segments(folder)
    newest = max(found, default=0)
    last: Stamp | None = None
    bytes_cut = 0
    for number in range(1, newest + 1):
        segment = found.get(number)
        if segment is None:
            raise missing(folder, number)
        closing = _ends_before(segment, from_seq, last)
        if closing is not None:
            last = closing
            continue
        data, before = segment.path.read_bytes(), last
        end, last = walk(data, number, before)
        sealed = is_sealed_end(data, end, last)
        torn = segment.is_open and number == newest and not whole_message_behind(data, end)
        if segment.in_quarantine or not (sealed or torn):
            path = put_in_quarantine(segment, files)
            raise damaged(path, data, end, last, number)
        if end:
            check_schema(segment.path, data, schema)
        if segment.is_open:
            bytes_cut += len(data) - end - (len(END_MARK) if sealed else 0)
            last = _finish(segment, data, before, schema, files)
    return Recovery(last.next_seq if last else 0, last.row_count if last else 0, bytes_cut)


def _ends_before(segment: Segment, from_seq: int, last: Stamp | None) -> Stamp | None:
    """Return the closing stamp of a sealed segment whose batches nobody wants checked."""
    if segment.is_open or segment.in_quarantine or from_seq == 0:
        return None
    opening, closing = opening_of(segment.path), closing_of(segment.path)
    if opening is None or closing is None or misfit(opening, last, segment.number):
        return None
    same = (opening.journal, opening.segment) == (closing.journal, closing.segment)
    return closing if same and closing.next_seq <= from_seq else None


def _finish(
    segment: Segment, data: bytes, before: Stamp | None, schema: pa.Schema, files: OsFiles
) -> Stamp | None:
    """Cut the torn end of an open segment and seal it, or drop it when it has no batch."""
    size, last = walk(data, segment.number, before, with_closing=False)
    folder = segment.path.parent
    if last is None or last.kind != "batch":
        files.remove(segment.path)
        files.sync_folder(folder)
        return before
    # The end is written anew even where it is whole: it is the same bytes.
    stamp = last._replace(kind="close", seq=last.next_seq, prev=last.crc, values_crc=NO_CRC)
    stamp, message = Encoder(schema).encode(stamp, None)
    if data[size:] != message:
        descriptor = files.append(segment.path)
        try:
            files.truncate(descriptor, size)
            write_whole(files, descriptor, message, segment.path)
        finally:
            files.close(descriptor)
    descriptor = files.append(segment.path)
    try:
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(segment.path, segment_path(folder, segment.number, is_open=False))
    files.sync_folder(folder)
    return stamp
