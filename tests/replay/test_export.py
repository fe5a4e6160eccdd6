"""Sessions as files: exact, whole or not there, and run again where nothing else is."""

import csv
import io
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from flowtape.replay.backtest import result_of
from flowtape.replay.bundle import is_bundle, unpack, write_bundle
from flowtape.replay.export import TRADES_SCHEMA, export_results, export_trades
from flowtape.replay.result_tables import fills_table, orders_table
from flowtape.replay.sessions import run_as_recorded
from flowtape.replay.tapes import TapeStore
from flowtape.replay.verifying import verify
from flowtape.stream.errors import InputError
from flowtape.stream.session import Session, SessionError
from tests.replay.live_sessions import Calm, no_tape, run_live, trades
from tests.replay.test_sessions import Slow, click, open_tape, run

COUNT = 30_000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_live(tmp_path_factory.mktemp("live"), COUNT, Calm())


@pytest.fixture(scope="module")
def over_tape(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run(tmp_path_factory.mktemp("tape"), Slow(), person=click)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_trades_are_those_of_the_feed_in_exact_text(
    live: Session, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"trades{suffix}"
    assert export_trades(live, no_tape, path) == COUNT
    table = pq.read_table(path) if suffix == ".parquet" else pa_csv.read_csv(path)
    if suffix == ".parquet":
        assert table.schema.equals(TRADES_SCHEMA)
    whole = trades(COUNT)
    for name in ("agg_id", "first_id", "last_id", "ts_us"):
        assert np.array_equal(table[name].to_numpy(), getattr(whole, name)), name
    assert set(table["symbol"].to_pylist()) == {"TESTUSDT"}
    assert table["is_buyer_maker"].to_pylist() == (whole.side < 0).tolist()
    if suffix == ".parquet":
        for name, exact, decimals in (("price", whole.price_ticks, 2), ("qty", whole.qty_lots, 5)):
            texts = table[name].to_pylist()
            assert [Decimal(t).scaleb(decimals) for t in texts[:500]] == exact[:500].tolist()
            assert texts[7] == f"{Decimal(int(exact[7])).scaleb(-decimals):f}"


def test_trades_of_a_session_over_a_tape_are_its_own_range(
    over_tape: Session, tmp_path: Path
) -> None:
    count = export_trades(over_tape, open_tape, tmp_path / "t.parquet")
    assert over_tape.summary is not None
    assert count == over_tape.summary.trade_count
    table = pq.read_table(tmp_path / "t.parquet")
    assert int(table["ts_us"][0].as_py()) == over_tape.summary.start_us


def test_results_agree_in_both_forms(over_tape: Session, tmp_path: Path) -> None:
    engine = run_as_recorded(over_tape, open_tape)
    result = result_of(engine)
    names = export_results(result, tmp_path / "out")
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in ("fills", "orders", "equity"):
        table = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / f"{name}.csv").read_text())))
        assert len(lines) == len(table) > 0
        for line, row in zip(lines, table.to_pylist(), strict=True):
            assert line == {key: "" if v is None else str(v) for key, v in row.items()}


def test_orders_say_who_and_what_became_of_them(live: Session) -> None:
    result = result_of(run_as_recorded(live, no_tape))
    table = orders_table(result)
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert {row["origin"] for row in rows} == {"strategy", "person"}
    assert {row["status"] for row in rows} >= {"filled", "canceled"}
    fills = fills_table(result)
    base = [dict(zip(fills.header, row, strict=True)) for row in fills.rows]
    for row in rows:
        own = [
            Decimal(str(fill["qty"]))
            for fill in base
            if fill["order_id"] == row["order_id"] and fill["lane"] == "base"
        ]
        assert sum(own) == Decimal(str(row["filled_qty"]))
        if row["status"] == "filled":
            assert row["filled_qty"] == row["qty"]


def test_a_failed_export_leaves_nothing(live: Session, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give a \.parquet or \.csv file"):
        export_trades(live, no_tape, tmp_path / "x.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        export_trades(live, no_tape, tmp_path / "file" / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def gone(*_: object) -> None:
    raise AssertionError("the tape must come from the bundle")


def of_bundle(place: str, from_us: int | None, to_us: int | None) -> object:
    path = Path(place)
    return TapeStore(path.parents[2]).open(path, from_us, to_us)


def test_a_bundle_is_verified_where_nothing_else_is(over_tape: Session, tmp_path: Path) -> None:
    write_bundle(over_tape, open_tape, Slow(), tmp_path / "b.zip")
    assert is_bundle(tmp_path / "b.zip")
    made = unpack(tmp_path / "b.zip", tmp_path / "elsewhere")
    assert made.id == over_tape.id
    assert (made.folder / "strategy" / "test_sessions.py").is_file()
    for strategy in (None, Slow()):
        verdict = verify(made, of_bundle, strategy)
        assert verdict.difference is None
        assert over_tape.summary is not None
        assert verdict.digest == over_tape.summary.digest
    again = unpack(tmp_path / "b.zip", tmp_path / "elsewhere")
    assert again.folder == made.folder


def test_a_live_session_is_bundled_with_its_inputs(live: Session, tmp_path: Path) -> None:
    write_bundle(live, gone, Calm(), tmp_path / "b.zip")
    made = unpack(tmp_path / "b.zip", tmp_path / "elsewhere")
    assert verify(made, gone, Calm()).difference is None


def test_a_session_without_an_end_is_not_bundled(tmp_path: Path) -> None:
    left = run_live(tmp_path, 5_000, left_at=3)
    with pytest.raises(InputError, match="has not ended; a bundle needs its digest"):
        write_bundle(left, no_tape, None, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.txt", "/etc/evil", "session/../../evil", "strategy/../evil.py", "other.txt"),
        *("session/commands/evil.py", "strategy/a/b.py", "tapes/0/evil.parquet", "session/evil"),
    ],
)
def test_what_has_no_place_in_a_bundle_is_refused(live: Session, tmp_path: Path, name: str) -> None:
    write_bundle(live, no_tape, Calm(), tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as archive:
        archive.writestr(name, "evil")
    with pytest.raises(InputError, match="which has no place in a bundle"):
        unpack(tmp_path / "b.zip", tmp_path / "there")
    assert not list((tmp_path / "there").glob("*"))


def test_what_is_no_bundle_is_told_and_leaves_nothing(live: Session, tmp_path: Path) -> None:
    write_bundle(live, no_tape, Calm(), tmp_path / "b.zip")
    whole = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "torn.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as archive:
        archive.writestr("bundle.json", json.dumps({"flowtape_bundle": 99, "session": "x"}))
    for name in ("torn.zip", "text.zip"):
        assert not is_bundle(tmp_path / name)
        with pytest.raises(SessionError, match="cannot be read as a bundle"):
            unpack(tmp_path / name, tmp_path / "there")
    with pytest.raises(InputError, match="is a bundle of another kind"):
        unpack(tmp_path / "foreign.zip", tmp_path / "there")
    assert not list((tmp_path / "there").glob("*"))
    at = whole.rindex(b"PK\x03\x04")
    damaged = bytearray(whole)
    damaged[at + 200] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(SessionError, match="cannot be read as a bundle"):
        unpack(tmp_path / "damaged.zip", tmp_path / "there")
