import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from flowtape.cli import tape_commands
from flowtape.stream.errors import InputError, TapeError
from tests.replay.archive_files import START_MS, futures_file, rows, spot_file, text_file, zipped


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("import")(tape_commands.import_)
    app.command("doctor")(tape_commands.doctor)
    app.command("tapes")(tape_commands.tapes)
    return app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWTAPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def call(app: typer.Typer, *words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_from_files_to_a_listed_tape(app: typer.Typer, home: Path, tmp_path: Path) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(50)))
    done = call(app, "import", path, "--symbol", "btcusdt", "--market", "spot")
    assert done.exit_code == 0
    assert f"spot/BTCUSDT: 50 new trades on 1 day, in {home / 'tapes'}" in done.stdout
    assert "a.zip: 50 rows, nothing wrong" in done.stdout
    listed = call(app, "tapes")
    assert "spot/BTCUSDT" in listed.stdout
    assert "whole" in listed.stdout
    assert call(app, "doctor", "BTCUSDT").exit_code == 0


def test_json_is_for_machines(app: typer.Typer, tmp_path: Path) -> None:
    path = futures_file(
        tmp_path / "a.csv", [*rows(5), *rows(5, first_id=1008, start_ms=START_MS + 9_999)]
    )
    where = ("--tapes", tmp_path / "tapes", "--json")
    done = json.loads(
        call(app, "import", path, "--symbol", "ETHUSDT", "--market", "um", *where).stdout
    )
    assert (done["tape"], done["added_count"]) == ("um/ETHUSDT", 10)
    assert done["days"] == {"2026-01-01": 10}
    assert done["files"][0]["sequence"]["missing_count"] == 3
    (listed,) = json.loads(call(app, "tapes", *where).stdout)
    assert (listed["symbol"], listed["row_count"], listed["missing_count"]) == ("ETHUSDT", 10, 3)
    for target in (path, "ETHUSDT", tmp_path / "tapes"):
        examined = call(app, "doctor", target, *where)
        assert examined.exit_code == 1
        report = json.loads(examined.stdout)
        assert report["sequence"]["holes"] == [{"from_id": 1005, "to_id": 1007}]
        assert report["problems"] == ["3 ids missing in 1 hole: 1005-1007"]


def test_any_csv_by_its_columns(app: typer.Typer, tmp_path: Path) -> None:
    lines = ["t,p,q,side,i", f"{START_MS},1.5,2,buy,7", f"{START_MS},1.5,2,sell,8"]
    path = text_file(tmp_path / "mine.csv", lines)
    mapping = ("--columns", "ts=t,price=p,qty=q,side=side,id=i")
    assert call(app, "doctor", path, *mapping).exit_code == 0
    where = ("--tapes", tmp_path / "tapes")
    done = call(app, "import", path, "--symbol", "X", "--market", "spot", *mapping, *where)
    assert "2 new trades" in done.stdout
    with pytest.raises(InputError, match="name its columns with --columns"):
        call(app, "doctor", path)


def test_a_conflict_with_the_tape_is_said(app: typer.Typer, tmp_path: Path) -> None:
    where = ("--symbol", "X", "--market", "spot", "--tapes", tmp_path / "tapes")
    call(app, "import", spot_file(tmp_path / "a.csv", rows(5)), *where)
    other = spot_file(tmp_path / "b.csv", rows(5, start_ms=START_MS + 1))
    assert "5 rows contradict what was there" in call(app, "import", other, *where).stdout


def test_repair_says_what_it_did(app: typer.Typer, tmp_path: Path) -> None:
    where = ("--tapes", tmp_path / "tapes")
    path = spot_file(tmp_path / "a.csv", rows(5))
    call(app, "import", path, "--symbol", "X", "--market", "spot", *where)
    (report,) = (tmp_path / "tapes").rglob("health.json")
    report.unlink()
    assert call(app, "doctor", "X", *where).exit_code == 1
    repaired = call(app, "doctor", "X", "--repair", *where)
    assert repaired.exit_code == 0
    assert "rewrote the report on date=2026-01-01" in repaired.stdout


def test_a_damaged_tape_exits_with_2(app: typer.Typer, tmp_path: Path) -> None:
    where = ("--tapes", tmp_path / "tapes")
    path = spot_file(tmp_path / "a.csv", rows(5))
    call(app, "import", path, "--symbol", "X", "--market", "spot", *where)
    (part,) = (tmp_path / "tapes").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:-20])
    examined = call(app, "doctor", "X", *where)
    assert examined.exit_code == 2
    assert "is damaged" in examined.stdout
    assert "is damaged" in call(app, "tapes", *where).stdout
    with pytest.raises(TapeError, match="is damaged"):
        call(app, "doctor", "X", "--repair", *where)


def test_no_tapes_says_how_to_get_one(app: typer.Typer, home: Path) -> None:
    assert f"no tapes in {home / 'tapes'}; make one with `flowtape import`" in (
        call(app, "tapes").stdout
    )
    assert json.loads(call(app, "tapes", "--json").stdout) == []


def test_a_bad_file_is_an_input_error(app: typer.Typer, tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.csv", ["no"])
    with pytest.raises(InputError, match="row 1"):
        call(app, "import", path, "--symbol", "X", "--market", "spot", "--tapes", tmp_path / "t")
    assert not (tmp_path / "t").exists()
    with pytest.raises(InputError, match="no tape 'NOPE'"):
        call(app, "doctor", "NOPE", "--tapes", tmp_path / "t")


def test_every_command_shows_an_example(app: typer.Typer) -> None:
    for name in ("import", "doctor", "tapes"):
        assert f"Example: flowtape {name}" in call(app, name, "--help").stdout
