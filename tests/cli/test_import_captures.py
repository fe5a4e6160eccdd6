"""`import` and `doctor` on captures of lines, as a person meets them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from tests.replay.archive_files import Row, rows, spot_file
from tests.replay.capture_lines import OTHERS, capture, combined, event

Run = Callable[..., tuple[int, str, str]]

TO_BTC = ("--symbol", "btcusdt", "--market", "spot")


def test_a_capture_becomes_a_tape(run: Run, tmp_path: Path) -> None:
    lines = [f"1767225600.25 {combined(event(row))}" for row in rows(50) if row.agg_id != 1010]
    path = capture(tmp_path / "capture.txt", [*lines, *OTHERS, "torn"])
    code, out, err = run("import", path, *TO_BTC)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"spot/BTCUSDT: 49 new trades on 1 day, in {tmp_path / 'home' / 'tapes'}",
        f"{path}: 49 trades in 58 lines (passed over: 1 trade of other symbols, 7 other "
        "messages), but:",
        "  1 broken line, it is line 58 ('torn': no message)",
        "  1 id missing in 1 hole: 1010",
    ]
    assert run("import", path, *TO_BTC)[1].startswith("spot/BTCUSDT: 0 new trades on 1 day")
    assert run("doctor", "BTCUSDT")[0] == 1
    code, out, _ = run("replay", "BTCUSDT", "--speed", "max", "--no-dashboard")
    assert code == 0, out


def test_machines_are_told_the_same(run: Run, tmp_path: Path) -> None:
    lines = [event(row, "um") for row in rows(5)]
    path = capture(tmp_path / "a", [*lines, "x"])
    path.write_bytes(gzip.compress(path.read_bytes()))
    words = ("--symbol", "BTCUSDT", "--market", "um", "--json")
    code, out, _ = run("import", path, *words)
    assert code == 0
    told = json.loads(out)
    assert (told["tape"], told["added_count"]) == ("um/BTCUSDT", 5)
    assert told["files"][0]["layout"] == "capture"
    assert told["files"][0]["capture"] == {
        "line_count": 6,
        "other_symbol_count": 0,
        "other_market_count": 0,
        "other_message_count": 0,
        "broken_count": 1,
        "first_broken_line": 6,
        "first_broken": "'x': no message",
        "cut_short": False,
    }


def test_captures_and_archives_in_one_import(run: Run, tmp_path: Path) -> None:
    archive = spot_file(tmp_path / "a.csv", rows(20))
    path = capture(tmp_path / "b.txt", map(event, rows(30)))
    code, out, _ = run("import", archive, path, *TO_BTC)
    assert code == 0
    assert "30 new trades" in out
    assert f"{archive}: 20 rows, nothing wrong" in out
    assert f"{path}: 30 trades in 30 lines, nothing wrong" in out


def test_all_files_or_none(run: Run, tmp_path: Path) -> None:
    good = capture(tmp_path / "a.txt", map(event, rows(20)))
    bad = capture(tmp_path / "b.txt", [event(Row(1)), event(Row(2)), event(Row(1, price="7"))])
    code, out, err = run("import", good, bad, *TO_BTC)
    assert (code, out) == (2, "")
    assert err == (
        f"flowtape: {bad}, line 3: trade 1 has price 7, but 100 in line 1; take out the "
        "wrong one and import again\n"
    )
    assert not list((tmp_path / "home").rglob("*.parquet"))


def test_another_market_or_symbol_is_said(run: Run, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.txt", [event(row, "um") for row in rows(20)])
    code, _, err = run("import", path, *TO_BTC)
    assert (code, err.count("\n")) == (2, 1)
    assert 'on spot: 20 trades of it came without "M", as on futures; check --market' in err
    code, _, err = run("import", path, "--symbol", "ETHUSDT", "--market", "um")
    assert code == 2
    assert err.endswith("holds no trade of ETHUSDT; it has BTCUSDT (20); check --symbol\n")


def test_doctor_examines_a_capture(run: Run, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.txt", map(event, rows(20)))
    assert run("doctor", path)[:2] == (
        0,
        f"{path}: 20 trades in 20 lines, times in ms, nothing wrong\n",
    )
    code, out, _ = run("doctor", capture(path, [*map(event, rows(20)), "torn"]))
    assert code == 1
    assert "1 broken line, it is line 21" in out
