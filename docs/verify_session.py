"""Check the inputs and the chain of a flowtape session with nothing of flowtape.

    python verify_session.py SESSION_FOLDER [PARQUET...]      (pip install pyarrow)

PARQUET are the files of the session's tapes, in order of time; of several tapes name the files of
the first, then `--`, then those of the second, and so on. A live session has its inputs in its own
folder. What this proves: the session was made of exactly these trades and commands, under exactly
this genesis, and its links form one chain. What it does not: that the outputs and states, whose
hashes the links hold, follow from them. That needs the engine: `flowtape verify SESSION`.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

GRID = 65_536
TRADE, END = 1, 6
COLUMNS = ["kind", "number", "side", "ts", "a", "b"]
IDS = ["agg_id", "first_id", "last_id"]  # of inputs in no tape, since format 2
REQUEST = (
    *("client_id", "parent_id", "sibling_id", "qty_lots", "price_ticks", "trigger_ticks", "trail"),
    *("display_lots", "expire_us", "market", "side", "kind", "time_in_force", "flags"),
)
COMMAND = struct.Struct("<QqQ" + "QQQqqqqqqIbBBB" + "IBB2x")


def journal(folder: Path) -> list[pa.RecordBatch]:
    """All Arrow batches of a folder; an unfinished segment is read as far as it goes."""
    batches: list[pa.RecordBatch] = []
    for path in sorted([*folder.glob("*.arrows"), *folder.glob("*.arrows.open")]):
        with pa.ipc.open_stream(path) as stream:
            try:
                batches.extend(stream)
            except (pa.ArrowInvalid, OSError):
                break
    return batches


def rows(folder: Path) -> list[dict]:
    return [row for batch in journal(folder) for row in batch.to_pylist()]


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def command_bytes(commands: list[dict]) -> bytes:
    return b"".join(
        COMMAND.pack(
            *(row["input"], row["ts_us"], row["order_id"]),
            *(row[f"request_{name}"] for name in REQUEST),
            *(row["place"], row["kind"], row["origin"]),
        )
        for row in commands
    )


def trades_of(files: list[str], ref: dict, number: int) -> pa.Table:
    """A tape's trades, with the time and number that put several tapes in one order."""
    names = ["ts", "price_ticks", "qty_lots", "is_buyer_maker"]
    table = pa.concat_tables([pq.read_table(file, columns=names) for file in files])
    ts = table["ts"].cast(pa.int64()).combine_chunks()
    for bound, begins in ((ref["to_us"], False), (ref["from_us"], True)):
        if bound is not None:
            row = pc.index(pc.greater_equal(ts, bound), True).as_py()
            row = len(ts) if row < 0 else row
            table, ts = (x.slice(row) if begins else x.slice(0, row) for x in (table, ts))
    if len(ts) != ref["row_count"]:
        count, symbol = ref["row_count"], ref["symbol"]
        sys.exit(f"tape {symbol} has {len(ts):,} trades here, the session {count:,}")
    side = pc.if_else(table["is_buyer_maker"], pa.scalar(-1, pa.int8()), pa.scalar(1, pa.int8()))
    columns = {"time": pc.cumulative_max(ts), "number": pa.array([number] * len(ts), pa.uint8())}
    columns |= {"ts": ts, "a": table["price_ticks"], "b": table["qty_lots"], "side": side}
    return pa.table(columns)


def of_tapes(genesis: dict, tapes: list[list[str]]) -> pa.Table:
    """The inputs of a session over tapes, and the end behind them."""
    named = zip(tapes, genesis["tapes"], strict=True)
    trades = pa.concat_tables([trades_of(*pair, i) for i, pair in enumerate(named)])
    if len(tapes) > 1:  # rows of one time stay in the order of tapes and of rows
        order = pa.array(range(len(trades)))
        keys = [("time", "ascending"), ("row", "ascending")]
        trades = trades.take(pc.sort_indices(trades.append_column("row", order), sort_keys=keys))
    kinds = pa.array([TRADE] * len(trades), pa.uint8())
    trades = trades.append_column("kind", kinds).select(COLUMNS)
    types = [(name, trades.schema.field(name).type) for name in COLUMNS]
    end = {name: pa.array([END * (name == "kind")], kind) for name, kind in types}
    return pa.concat_tables([trades, pa.table(end)])


def own(folder: Path) -> pa.Table:
    """The inputs that a live session kept itself."""
    pieces = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.suffix == ".parquet":
            pieces.append(pq.read_table(path))
        elif path.suffix == ".journal" and not path.with_suffix(".parquet").exists():
            pieces += [pa.Table.from_batches([batch]) for batch in journal(path)]
    names = ["kind", "market", "side", "ts_us", "price_ticks", "qty_lots", *IDS]
    tables = [piece.select(names).replace_schema_metadata() for piece in pieces]
    return pa.concat_tables(tables).rename_columns(COLUMNS + IDS)


def raw(table: pa.Table, name: str) -> bytes:
    array = pa.concat_arrays(table[name].chunks)
    width = array.type.bit_width // 8
    start = array.offset * width
    return array.buffers()[1].to_pybytes()[start : start + len(array) * width]


def main(folder: Path, tapes: list[list[str]]) -> None:
    genesis = json.loads((folder / "genesis.json").read_text())["genesis"]
    text = json.dumps(genesis, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    chain = hashlib.sha256(b"flowtape genesis 1" + text.encode()).digest()
    inputs = of_tapes(genesis, tapes) if genesis["tapes"] else own(folder / "inputs")
    names = COLUMNS + (IDS if genesis["schema"] > 1 and not genesis["tapes"] else [])
    commands, start = rows(folder / "commands"), 0
    for block, link in enumerate(rows(folder / "links")):
        stop, number = link["input"], block.to_bytes(8, "little")
        part = inputs.slice(start, stop - start)
        first = start + 1 if start else 0
        asked = [row for row in commands if first <= row["input"] <= stop]
        told = hashlib.sha256(b"flowtape inputs 1" + number)
        for name in names:
            told.update(sized(raw(part, name)))
        told.update(sized(command_bytes(asked)))
        head = struct.pack("<QQIq", block, stop, link["place"], link["stream_us"])
        body = link["inputs"] + link["outputs"] + link["state"]
        chain = hashlib.sha256(b"flowtape chain 1" + chain + head + body).digest()
        if link["block"] != block or told.digest() != link["inputs"] or chain != link["chain"]:
            sys.exit(f"block {block} (inputs {start + 1:,} to {stop:,}) differs")
        start = stop
    print(f"{start:,} inputs and {len(commands):,} commands are those of the chain")
    print(f"digest {chain.hex()}")


def groups(words: list[str]) -> list[list[str]]:
    """The words between dashes."""
    found: list[list[str]] = [[]]
    for word in words:
        found.append([]) if word == "--" else found[-1].append(word)
    return found


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), groups(sys.argv[2:]))
