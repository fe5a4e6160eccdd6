"""`prune` as a person meets it."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowtape.stream.journal_files import FolderLock
from tests.replay.aged_sessions import make

Run = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "sessions"


def aged(root: Path, *ages: float, label: str = "") -> list[str]:
    now = datetime.now(UTC)
    return [make(root, age, now=now, label=label, size_bytes=3_000_000) for age in ages]


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_it_shows_asks_and_deletes(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, older, young = aged(root, 40, 50, 1)
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    code, out, err = run("prune", "--older-than", "30d")
    assert (code, err) == (0, "")
    first, second, question = out.splitlines()
    assert first.startswith(f"{older}  20")
    assert first.endswith("3.0 MB  too old")
    assert second.startswith(old)
    assert question.startswith("delete 2 sessions (6.0 MB)?")
    assert question.endswith("nothing was deleted")
    assert len(left(root)) == 3
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    code, out, _ = run("prune", "--older-than", "30d")
    assert code == 0
    assert out.endswith("deleted 2 sessions (6.0 MB)\n")
    assert left(root) == [young]
    code, out, _ = run("prune", "--older-than", "30d")
    assert (code, out) == (0, f"nothing to delete below {root}\n")


def test_scripts_say_yes(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = aged(root, 3, 2, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for words in (("--keep", "1"), ("--keep", "1", "--json")):
        code, _, err = run("prune", *words)
        assert (code, len(left(root))) == (2, 3)
        assert err == (
            "flowtape: nothing was deleted: give --yes to delete 2 sessions (6.0 MB), or "
            "--dry-run\n"
        )
    code, out, _ = run("prune", "--keep", "1", "--dry-run")
    assert (code, len(left(root))) == (0, 3)
    assert out.endswith("would delete 2 sessions (6.0 MB)\n")
    assert run("prune", "--keep", "1", "--yes")[0] == 0
    assert left(root) == ids[2:]


def test_machines_are_told(run: Run, root: Path) -> None:
    (mine,) = aged(root, 50, label="mine")
    (plain,) = aged(root, 40)
    words = ("prune", "--larger-than", "100kB", "--json")
    told = json.loads(run(*words, "--dry-run")[1])
    assert not told["deleted"]
    (one,) = told["sessions"]
    assert (one["id"], one["label"], one["why"]) == (plain, "", "too much in all")
    assert one["folder"] == str(root / plain)
    assert told["size_bytes"] == one["size_bytes"] > 3_000_000
    assert told["spared"] == [{"id": mine, "why": "it has the label 'mine'"}]
    assert len(left(root)) == 2
    told = json.loads(run(*words, "--yes", "--labelled")[1])
    assert told["deleted"]
    assert [one["id"] for one in told["sessions"]] == [mine, plain]
    assert left(root) == []


def test_named_ones_go(run: Run, root: Path) -> None:
    first, second, third = aged(root, 3, 2, 1)
    lock = FolderLock(root / second / "links")
    code, _, err = run("prune", first, second, "--yes")
    assert code == 2
    assert f"session {second} stays: " in err
    assert "stop that first; nothing was deleted" in err
    lock.release()
    assert len(left(root)) == 3
    assert run("prune", "last", str(root / first), "--yes")[0] == 0
    assert left(root) == [second]
    code, _, err = run("prune", third, "--yes")
    assert (code, "there is no session" in err) == (2, True)


def test_what_stays_is_said(run: Run, root: Path) -> None:
    (mine,) = aged(root, 50, label="mine")
    code, out, _ = run("prune", "--older-than", "30d", "--yes")
    assert code == 0
    assert out.splitlines() == [
        f"{mine} stays: it has the label 'mine'",
        f"nothing to delete below {root}",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name sessions, or give --older-than, --larger-than or --keep"),
        (("--older-than", "30"), "--older-than must be an age such as 12h or 30d, was '30'"),
        (("--larger-than", "big"), "--larger-than must be a size such as 500MB or 2GB, was 'big'"),
    ],
)
def test_mistakes_are_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    assert run("prune", *words) == (2, "", f"flowtape: {said}\n")
