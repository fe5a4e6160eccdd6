"""What whole sessions come to changes only with the semantics or the form of a genesis.

Like the kernel's golden digests these know nothing of right and wrong; they stand guard over the
way from a tape to a session's chain: genesis, inputs, commands, outputs, states and links.
"""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowtape.stream.execution import Change, Lane, Role
from flowtape.stream.session import Session
from tests.replay import golden_sessions
from tests.replay.golden_sessions import GOLDEN, SESSIONS, VERSIONS, differences, refusal

KEPT: dict[str, Any] = json.loads(GOLDEN.read_text())
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"

ADVICE = """what sessions come to has changed. If that is meant:
  - equal inputs lead to other results: raise FLOW_SEMANTICS_VERSION in kernel/include/flow_types.h
    and crates/flowtape-sys, and add a line `- Semantics N: ...` to CHANGELOG.md;
  - a genesis says other things: raise SCHEMA in stream/genesis.py, and add a line
    `- Session format N: ...` to CHANGELOG.md;
then write the digests anew with `python -m tests.replay.golden_sessions --write`.
"""

SEEN: dict[str, set[int]] = {"changes": set(), "roles": set(), "lanes": set()}


RAN: set[str] = set()


def run(name: str, root: Path) -> Session:
    session, engine = golden_sessions.run(name, root)
    RAN.add(name)
    ledger = engine.ledger
    SEEN["changes"] |= set(ledger.order_events.all()["change"].tolist())
    for fills in (ledger.fills.all(), ledger.other_fills.all()):
        SEEN["roles"] |= set(fills["role"].tolist())
        SEEN["lanes"] |= set(fills["lane"].tolist())
    return session


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_come_to_what_they_came_to(name: str, tmp_path: Path) -> None:
    session = run(name, tmp_path)
    changed = differences(KEPT["sessions"].get(name), golden_sessions.told(session))
    if changed:
        pytest.fail(ADVICE + "\n".join(changed), pytrace=False)


def test_the_sessions_see_nearly_everything(tmp_path: Path) -> None:
    # Others may have been made by another process of the tests.
    for name in SESSIONS:
        if name not in RAN:
            run(name, tmp_path / name)
    assert {Change(one) for one in SEEN["changes"]} >= set(Change) - {Change.UNKNOWN}
    # Liquidation needs a stream of mark prices, which a tape of trades has not.
    assert SEEN["roles"] == {Role.MAKER, Role.TAKER}
    assert SEEN["lanes"] == set(Lane)


def test_the_digests_are_of_the_present_versions() -> None:
    assert {name: KEPT[name] for name in VERSIONS} == VERSIONS, (
        "write the digests anew with `python -m tests.replay.golden_sessions --write`"
    )
    assert set(KEPT["sessions"]) == set(SESSIONS)


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("Semantics", KEPT["semantics_version"]),
        ("Session format", KEPT["genesis_schema"]),
    ],
)
def test_every_version_is_in_the_changelog(words: str, version: int) -> None:
    told = re.findall(rf"^- {words} (\d+): \w", CHANGELOG.read_text(), re.MULTILINE)
    assert sorted(map(int, told)) == list(range(2, version + 1))


def other() -> dict[str, Any]:
    changed = copy.deepcopy(KEPT)
    changed["sessions"][next(iter(SESSIONS))]["links"][0]["state"] = "00"
    return changed


def test_other_digests_need_another_version() -> None:
    said = refusal(KEPT, other())
    assert said is not None
    first = next(iter(SESSIONS))
    assert (
        f"/{first}/links/0/state: {KEPT['sessions'][first]['links'][0]['state'][:40]}, now 00"
        in said
    )
    assert "CHANGELOG.md" in said
    assert refusal(KEPT, KEPT) is None
    assert refusal(None, other()) is None
    for name in VERSIONS:
        assert refusal(KEPT, other() | {name: KEPT[name] + 1}) is None


def test_sessions_may_come_and_go_under_one_version() -> None:
    fewer = copy.deepcopy(KEPT)
    del fewer["sessions"][next(iter(SESSIONS))]
    assert refusal(KEPT, fewer) is None
    assert refusal(fewer, KEPT) is None


def test_writing_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps(KEPT))
    monkeypatch.setattr(golden_sessions, "made", other)
    assert golden_sessions.main(["--write"], golden) == 1
    assert "digests changed" in capsys.readouterr().err
    assert json.loads(golden.read_text()) == KEPT
    monkeypatch.setattr(golden_sessions, "made", lambda: other() | {"semantics_version": 99})
    assert golden_sessions.main(["--write"], golden) == 0
    assert json.loads(golden.read_text())["semantics_version"] == 99
    assert golden_sessions.main([], golden) == 0
    assert json.loads(capsys.readouterr().out) == golden_sessions.made()
