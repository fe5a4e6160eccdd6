"""Recording a live feed: a journal while it runs, a tape when it is sealed.

The journal is an Arrow IPC stream; each batch carries its number and a CRC-32 of its columns, so
that what a killed process leaves can be told from damage. `seal` turns it into a tape and removes
it; a recording that was killed is sealed when it is opened.
"""

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError, TapeError
from flowtape.stream.instrument import Instrument, Market
from flowtape.stream.ports import Event, Gap
from flowtape.stream.trades import Trades

JOURNAL_NAME = "trades.arrows.open"
SUMMARY_NAME = "recording.json"

_SCHEMA = pa.schema(
    [
        pa.field(name, pa.int8() if name == "side" else pa.int64(), nullable=False)
        for name in Trades.__dataclass_fields__
    ]
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A sealed recording.

    Attributes:
        folder: a tape store with one tape.
        trade_count: trades on it.
        gaps: aggregate ids, both inclusive, that no one could deliver.
        torn_bytes: bytes behind the last whole batch, as a killed process leaves them.
    """

    folder: Path
    trade_count: int
    gaps: list[tuple[int, int]]
    torn_bytes: int


class TapeRecorder:
    """Keeps the trades of one instrument in a new folder; a `stream.ports.TradeSink`.

    `write` returns when the operating system has the bytes, so a killed process loses nothing.
    """

    def __init__(self, out: Path, name: str, instrument: Instrument) -> None:
        self.folder = _new_folder(out, name)
        self.trade_count = 0
        self._gaps: list[tuple[int, int]] = []
        metadata = {
            "symbol": instrument.symbol,
            "market": instrument.market,
            "venue": instrument.venue,
            "price_decimals": str(instrument.price_decimals),
            "qty_decimals": str(instrument.qty_decimals),
        }
        self._file = (self.folder / JOURNAL_NAME).open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._stream = pa.ipc.new_stream(self._file, _SCHEMA.with_metadata(metadata))
        self._batch_count = 0

    def write(self, event: Event) -> None:
        """Keep one event; clock statements need no keeping.

        Raises InputError when the disk takes no more; what was kept before stays.
        """
        try:
            self._write(event)
        except OSError as error:
            raise InputError(
                f"{self.folder} takes no more ({error.strerror}); what was recorded before is kept"
            ) from None

    def _write(self, event: Event) -> None:
        if isinstance(event, Gap):
            self._gaps.append((event.from_id, event.to_id))
            _write_json(self.folder / SUMMARY_NAME, {"gaps": self._gaps})
        elif isinstance(event, Trades) and len(event):
            columns = [np.ascontiguousarray(getattr(event, name)) for name in _SCHEMA.names]
            batch = pa.record_batch([pa.array(column) for column in columns], schema=_SCHEMA)
            crc = _crc(columns)
            self._stream.write_batch(
                batch, custom_metadata={"seq": str(self._batch_count), "crc32": str(crc)}
            )
            self._batch_count += 1
            self.trade_count += len(event)

    def close(self) -> None:
        """Seal the recording into a tape."""
        # A full disk must not keep the file open: the journal is whole without its end mark.
        with contextlib.suppress(OSError):
            self._stream.close()
        os.fsync(self._file.fileno())
        self._file.close()
        seal(self.folder)


def seal(folder: Path) -> Recording | None:
    """Turn a folder's journal into a tape; returns None when there is no journal.

    Whole batches before a torn end are kept. Raises InputError while the recording goes on, and
    TapeError when a batch in the middle is damaged; the journal then stays as it is.
    """
    journal = folder / JOURNAL_NAME
    try:
        with journal.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _seal(folder, journal) if journal.exists() else None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        raise InputError(f"{folder} is still being recorded; wait until that is done") from None


def _seal(folder: Path, journal: Path) -> Recording:
    summary = folder / SUMMARY_NAME
    gaps = json.loads(summary.read_text())["gaps"] if summary.exists() else []
    reader = _JournalReader(journal)
    count = 0
    if reader.instrument is not None:
        trades = list(reader.batches())
        count = sum(map(len, trades))
        if trades:
            add_trades(TapeStore(folder), reader.instrument, trades)
    recording = Recording(folder, count, [(a, b) for a, b in gaps], reader.torn_bytes)
    _write_json(summary, {"gaps": gaps, "trade_count": count, "torn_bytes": reader.torn_bytes})
    journal.unlink()
    return recording


class _JournalReader:
    """Reads the whole batches of a journal; afterwards `torn_bytes` says what was left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._file = pa.OSFile(str(path), "rb")
        self.torn_bytes = 0
        self.instrument: Instrument | None = None
        try:
            self._stream = pa.ipc.open_stream(self._file)
        except (pa.ArrowInvalid, OSError):
            self.torn_bytes = self._size
            return
        metadata = {k.decode(): v.decode() for k, v in self._stream.schema.metadata.items()}
        market = cast(Market, metadata["market"])
        self.instrument = Instrument(
            metadata["symbol"],
            market,
            int(metadata["price_decimals"]),
            int(metadata["qty_decimals"]),
            metadata["venue"],
        )

    def batches(self) -> Iterator[Trades]:
        seq, good = 0, self._file.tell()
        while True:
            try:
                batch, metadata = self._stream.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            except (pa.ArrowInvalid, OSError):
                self.torn_bytes = self._size - good
                break
            columns = [column.to_numpy() for column in batch.columns]
            if not metadata or (int(metadata["seq"]), int(metadata["crc32"])) != (
                seq,
                _crc(columns),
            ):
                if self._file.tell() < self._size:
                    raise TapeError(
                        f"{self._path} is damaged at byte {good}, batch {seq}; it is left as it is"
                    )
                self.torn_bytes = self._size - good
                break
            yield Trades(*columns)
            seq, good = seq + 1, self._file.tell()


def _crc(columns: list[NDArray[Any]]) -> int:
    crc = 0
    for column in columns:
        crc = zlib.crc32(column.tobytes(), crc)
    return crc


def _new_folder(out: Path, name: str) -> Path:
    for suffix in ["", *(f"-{i}" for i in range(2, 1000))]:
        folder = out / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"cannot record into {out}: {error.strerror}") from None
        return folder
    raise InputError(f"{out} has a thousand recordings called {name}; give another --out")


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)
