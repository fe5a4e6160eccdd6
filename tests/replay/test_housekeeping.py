import os
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.replay import housekeeping
from flowtape.replay.housekeeping import (
    Limits,
    Plan,
    parse_age_us,
    parse_bytes,
    parse_retention,
    plan,
    prune,
    retain,
)
from flowtape.replay.session_store import SessionStore
from flowtape.stream.errors import InputError
from flowtape.stream.journal_files import FolderLock
from flowtape.stream.session import Session, SessionWriter
from tests.replay.aged_sessions import NOW, make

DAY_US = 86_400_000_000


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    (tmp_path / "sessions").mkdir()
    return SessionStore(tmp_path / "sessions")


def several(store: SessionStore, *ages: float) -> list[str]:
    return [make(store.root, age) for age in ages]


def gone(found: Plan) -> list[str]:
    return [one.id for one in found.pruned]


def stays(found: Plan) -> dict[str, str]:
    return {one.id: one.why for one in found.spared}


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_old_ones_go_and_young_ones_stay(store: SessionStore) -> None:
    ids = several(store, 50, 31, 30, 29, 0)
    found = plan(store, (), Limits(older_than_us=30 * DAY_US), NOW)
    assert gone(found) == ids[:2]
    assert stays(found) == {}
    assert {one.why for one in found.pruned} == {"too old"}
    assert names(store.root) == sorted(ids)
    assert prune(store, found.pruned) == found
    assert names(store.root) == sorted(ids[2:])


def test_age_counts_from_the_last_write(store: SessionStore) -> None:
    old, written = several(store, 50, 50)
    recent = (NOW - timedelta(days=1)).timestamp()
    os.utime(store.root / written / "genesis.json", (recent, recent))
    assert gone(plan(store, (), Limits(older_than_us=30 * DAY_US), NOW)) == [old]


def test_asking_who_writes_is_no_write(store: SessionStore) -> None:
    ids = several(store, 50)
    for _ in range(2):
        assert gone(plan(store, (), Limits(older_than_us=30 * DAY_US), NOW)) == ids


def test_the_oldest_go_until_all_fit(store: SessionStore) -> None:
    ids = [make(store.root, age, size_bytes=1_000_000) for age in (4, 3, 2, 1)]
    assert gone(plan(store, (), Limits(total_bytes=2_500_000), NOW)) == ids[:2]
    assert gone(plan(store, (), Limits(total_bytes=5_000_000), NOW)) == []
    assert gone(plan(store, (), Limits(total_bytes=0), NOW)) == ids
    (one, *_) = plan(store, (), Limits(total_bytes=0), NOW).pruned
    assert 1_000_000 < one.size_bytes < 1_010_000


def test_the_newest_stay_whatever_the_others_say(store: SessionStore) -> None:
    ids = several(store, 50, 40, 30, 20)
    assert gone(plan(store, (), Limits(keep_count=3), NOW)) == ids[:1]
    assert gone(plan(store, (), Limits(keep_count=9), NOW)) == []
    assert gone(plan(store, (), Limits(keep_count=0), NOW)) == ids
    assert gone(plan(store, (), Limits(older_than_us=25 * DAY_US, keep_count=2), NOW)) == ids[:2]
    assert gone(plan(store, (), Limits(total_bytes=0, keep_count=3), NOW)) == ids[:1]
    old_or_large = Limits(older_than_us=45 * DAY_US, total_bytes=10**9)
    assert gone(plan(store, (), old_or_large, NOW)) == ids[:1]


def test_without_a_limit_only_what_is_named_goes(store: SessionStore) -> None:
    ids = several(store, 50, 40, 30, 20)
    assert gone(plan(store, (), Limits(), NOW)) == []
    assert gone(plan(store, [ids[1], "last"], Limits(), NOW)) == [ids[1], ids[3]]
    folder = str(store.root / ids[2])
    assert gone(plan(store, [folder, folder, ids[2].lower()], Limits(), NOW)) == [ids[2]]
    both = plan(store, [ids[3]], Limits(older_than_us=45 * DAY_US), NOW)
    assert [(one.id, one.why) for one in both.pruned] == [(ids[0], "too old"), (ids[3], "named")]
    with pytest.raises(InputError, match="there is no session 0123ABC below"):
        plan(store, ["0123ABC"], Limits(), NOW)


def test_a_label_protects_but_not_from_its_name(store: SessionStore) -> None:
    plain, mine = make(store.root, 50), make(store.root, 40, label="mine")
    limits = Limits(older_than_us=30 * DAY_US)
    found = plan(store, (), limits, NOW)
    assert (gone(found), stays(found)) == ([plain], {mine: "it has the label 'mine'"})
    assert gone(plan(store, (), limits, NOW, labelled=True)) == [plain, mine]
    assert gone(plan(store, [mine], Limits(), NOW)) == [mine]


@pytest.mark.parametrize("journal", ["commands", "links", "inputs/000000000001.journal"])
def test_what_is_being_written_stays(store: SessionStore, journal: str) -> None:
    (busy,) = several(store, 50)
    (store.root / busy / journal).mkdir(parents=True, exist_ok=True)
    lock = FolderLock(store.root / busy / journal)
    found = plan(store, (), Limits(keep_count=0), NOW)
    assert gone(found) == []
    assert stays(found)[busy].endswith(
        f"is being written by process {os.getpid()}; stop that first"
    )
    with pytest.raises(InputError, match=f"session {busy} stays: .* nothing was deleted"):
        plan(store, [busy], Limits(), NOW)
    lock.release()
    found = plan(store, [busy], Limits(), NOW)
    lock = FolderLock(store.root / busy / journal)
    done = prune(store, found.pruned)
    assert (gone(done), list(stays(done))) == ([], [busy])
    assert names(store.root) == [busy]
    lock.release()
    assert gone(prune(store, found.pruned)) == [busy]
    assert names(store.root) == []


def test_a_session_that_begins_is_not_pruned_by_itself(store: SessionStore) -> None:
    ids = several(store, 3, 2)
    genesis = Session.open(store.root / ids[0]).genesis
    writer = SessionWriter.create(store.root, genesis, NOW)
    assert [one.id for one in retain(store, Limits(total_bytes=0), NOW)] == ids
    writer.close()
    assert names(store.root) == [writer.folder.name]
    assert [one.id for one in retain(store, Limits(total_bytes=0), NOW)] == [writer.folder.name]


def test_no_branch_stays_without_its_parent(store: SessionStore) -> None:
    root = store.root
    parent = make(root, 50)
    branch = make(root, 40, parent=parent)
    twig = make(root, 20, parent=branch)
    other = make(root, 45)
    limits = Limits(older_than_us=30 * DAY_US)
    found = plan(store, (), limits, NOW)
    assert gone(found) == [other]
    said = "branched from it; --with-branches takes both"
    assert stays(found) == {parent: f"{branch} {said}", branch: f"{twig} {said}"}
    taken = plan(store, (), limits, NOW, with_branches=True)
    assert [(one.id, one.why) for one in taken.pruned] == [
        (parent, "too old"),
        (other, "too old"),
        (branch, f"branched from {parent}"),
        (twig, f"branched from {parent}"),
    ]
    assert gone(plan(store, (), Limits(older_than_us=10 * DAY_US), NOW)) == [
        *(parent, other, branch, twig)
    ]
    with pytest.raises(InputError, match=f"session {parent} stays: {branch} branched from it"):
        plan(store, [parent, twig], Limits(), NOW)
    assert gone(plan(store, [parent, twig, branch], Limits(), NOW)) == [parent, branch, twig]
    assert gone(plan(store, [parent], Limits(), NOW, with_branches=True)) == [parent, branch, twig]


def test_branches_that_must_stay_keep_their_parents(store: SessionStore) -> None:
    root = store.root
    parent = make(root, 50)
    branch = make(root, 40, parent=parent, label="mine")
    limits = Limits(keep_count=0)
    why = f"its branch {branch} stays: it has the label 'mine'"
    assert stays(plan(store, (), limits, NOW, with_branches=True))[parent] == why
    with pytest.raises(InputError, match=why):
        plan(store, [parent], Limits(), NOW, with_branches=True)
    assert gone(plan(store, [parent, branch], Limits(), NOW)) == [parent, branch]
    kept_anyway = plan(store, (), limits, NOW, labelled=True, spared={branch})
    assert gone(kept_anyway) == []
    newest = plan(store, (), Limits(keep_count=1), NOW, labelled=True, with_branches=True)
    assert gone(newest) == []
    named = plan(store, [branch], Limits(keep_count=1), NOW, with_branches=True)
    assert gone(named) == [parent, branch]


def test_what_another_one_needs_is_spared(store: SessionStore) -> None:
    ids = several(store, 3, 2)
    found = plan(store, (), Limits(keep_count=0), NOW, spared={ids[0]})
    assert (gone(found), stays(found)) == ([ids[1]], {ids[0]: "another session needs it"})
    assert [one.id for one in retain(store, Limits(keep_count=0), NOW, spared={ids[0]})] == [ids[1]]


def test_a_damaged_one_goes_by_its_whole_id_only(store: SessionStore) -> None:
    damaged, _ = several(store, 50, 40)
    (store.root / damaged / "genesis.json").write_text("{}")
    found = plan(store, (), Limits(keep_count=0), NOW)
    assert "cannot be read as a session" in stays(found)[damaged]
    with pytest.raises(InputError, match=r"cannot be read as a session.*delete it by hand"):
        plan(store, [str(store.root / damaged)], Limits(), NOW)
    assert gone(plan(store, [damaged], Limits(), NOW)) == [damaged]
    (store.root / damaged).rename(store.root / "DAMAGED")
    with pytest.raises(InputError, match=r"cannot be read as a session.*delete it by hand"):
        plan(store, ["DAMAGED"], Limits(), NOW)


def test_elsewhere_only_a_session_named_in_full_goes(store: SessionStore, tmp_path: Path) -> None:
    (inside,) = several(store, 3)
    outside = tmp_path / "recordings"
    made = outside / make(outside, 50)
    (outside / "note.txt").write_text("mine")
    assert gone(plan(store, (), Limits(keep_count=0), NOW)) == [inside]
    for ref in (made.name, str(outside), "note.txt"):
        with pytest.raises(InputError):
            plan(store, [ref], Limits(), NOW)
    found = plan(store, [str(made)], Limits(), NOW)
    assert [one.folder for one in found.pruned] == [made]
    prune(store, found.pruned)
    assert names(outside) == ["note.txt"]
    (outside / make(outside, 50)).rename(outside / "mine")
    (outside / ".deleting-mine").mkdir()
    (outside / ".deleting-mine" / "rest").write_text("of a crash")
    prune(store, plan(store, [str(outside / "mine")], Limits(), NOW).pruned)
    assert names(outside) == ["note.txt"]
    damaged = outside / make(outside, 50)
    (damaged / "genesis.json").write_text('{"genesis": 1}')
    with pytest.raises(InputError, match="cannot be read as a session"):
        plan(store, [str(damaged)], Limits(), NOW)


def test_links_are_not_followed(store: SessionStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    made = elsewhere / make(elsewhere, 50)
    linked = store.root / made.name
    linked.symlink_to(made)
    assert gone(plan(store, (), Limits(keep_count=0), NOW)) == []
    for ref in (made.name, str(linked), "last"):
        with pytest.raises(InputError, match=f"is a link to {made}; name that, or delete the link"):
            plan(store, [ref], Limits(), NOW)
    linked.unlink()
    (own,) = several(store, 3)
    (store.root / own / "notes").symlink_to(elsewhere)
    assert [one.id for one in retain(store, Limits(keep_count=0), NOW)] == [own]
    assert made.is_dir()


def test_a_crash_half_way_leaves_all_or_nothing(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = several(store, 3, 2)

    class KilledError(Exception):
        pass

    def killed(path: Path, **_: object) -> None:
        if path.exists():
            (path / "genesis.json").unlink()
            raise KilledError

    monkeypatch.setattr(housekeeping.shutil, "rmtree", killed)
    with pytest.raises(KilledError):
        prune(store, plan(store, [ids[0]], Limits(), NOW).pruned)
    monkeypatch.undo()
    assert [one.id for one in store.sessions()] == [ids[1]]
    assert names(store.root) == [f".deleting-{ids[0]}", ids[1]]
    (store.root / ".deleting-something").mkdir()
    prune(store, ())
    assert names(store.root) == [".deleting-something", ids[1]]


def test_gone_already_is_no_error(store: SessionStore) -> None:
    found = plan(store, (), Limits(keep_count=0), NOW)
    assert found == Plan((), ())
    several(store, 3)
    found = plan(store, (), Limits(keep_count=0), NOW)
    shutil.rmtree(found.pruned[0].folder)
    prune(store, found.pruned)
    assert names(store.root) == []


def test_what_cannot_be_deleted_is_named(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = several(store, 3)

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match=f"{own} cannot be deleted: Permission denied; check who"):
        retain(store, Limits(keep_count=0), NOW)


def test_there_need_be_no_sessions(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "none")
    assert retain(store, Limits(keep_count=0, total_bytes=0), NOW) == []


def test_ages_and_sizes_are_read_exactly() -> None:
    assert parse_age_us("30d", "--x") == 30 * DAY_US
    assert parse_age_us("1.5h", "--x") == 5_400_000_000
    assert [parse_bytes(text, "--x") for text in ("7B", "2GB", "1.5GiB", "500kb")] == [
        *(7, 2 * 10**9, 3 * 2**29, 500_000)
    ]
    assert parse_retention("4w", "--x") == Limits(older_than_us=28 * DAY_US)
    assert parse_retention("20GB", "--x") == Limits(total_bytes=20 * 10**9)
    for wrong in ("", "30", "-1d", "1e3d", "30 days", "GB", "٣d"):
        with pytest.raises(InputError, match="--x must be an age such as 30d or a size"):
            parse_retention(wrong, "--x")
        with pytest.raises(InputError, match="--x must be an age"):
            parse_age_us(wrong, "--x")
        with pytest.raises(InputError, match="--x must be a size"):
            parse_bytes(wrong, "--x")


def _orphans(root: Path, left: Iterable[str], parents: dict[str, str | None]) -> list[str]:
    here = set(left)
    return [one for one in here if parents[one] is not None and parents[one] not in here]


@given(
    made=st.lists(
        st.tuples(st.integers(0, 60), st.booleans(), st.integers(-6, 11), st.integers(0, 9)),
        max_size=12,
    ),
    older_than=st.none() | st.integers(0, 60),
    total=st.none() | st.integers(0, 40),
    keep=st.none() | st.integers(0, 12),
    labelled=st.booleans(),
    with_branches=st.booleans(),
)
def test_limits_never_take_more_than_they_may(
    tmp_path_factory: pytest.TempPathFactory,
    made: list[tuple[int, bool, int, int]],
    older_than: int | None,
    total: int | None,
    keep: int | None,
    labelled: bool,
    with_branches: bool,
) -> None:
    store = SessionStore(tmp_path_factory.mktemp("sessions"))
    ids: list[str] = []
    parents: dict[str, str | None] = {}
    with_label: set[str] = set()
    ages: dict[str, int] = {}
    for age, has_label, parent, size in made:
        known = ids[parent] if 0 <= parent < len(ids) else None
        one = make(store.root, age, label="x" * has_label, parent=known, size_bytes=10_000 * size)
        ids.append(one)
        parents[one], ages[one] = known, age
        with_label |= {one} if has_label else set()
    limits = Limits(
        None if older_than is None else older_than * DAY_US,
        None if total is None else 10_000 * total,
        keep,
    )
    found = plan(store, (), limits, NOW, labelled=labelled, with_branches=with_branches)
    leaving = gone(found)
    prune(store, found.pruned)
    left = names(store.root)
    assert sorted([*left, *leaving]) == sorted(ids)
    assert _orphans(store.root, left, parents) == []
    if not labelled:
        assert not with_label & set(leaving)
    newest = sorted(ids, key=lambda one: (-ages[one], one))[max(len(ids) - (keep or 0), 0) :]
    assert not set(newest) & set(leaving)
    if limits == Limits():
        assert leaving == []
    elif total is None and older_than is not None and not with_branches:
        assert all(ages[one] > older_than for one in leaving)
    # Whatever stays beyond a limit stays for a reason that is said.
    beyond = {one for one in left if older_than is not None and ages[one] > older_than}
    assert beyond - set(newest) == beyond & set(stays(found)) - set(newest) or total is not None
