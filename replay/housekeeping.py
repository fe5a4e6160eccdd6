"""Deleting sessions that were kept: those that are named, and those beyond limits of age and size.

What is being written stays, and so does what another session branched from, unless that goes as
well; what has a label stays unless it is named. A folder is renamed before its files go, so that a
session is there whole or not at all; what a crash leaves is removed the next time.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from flowtape.replay.session_store import SessionStore
from flowtape.stream.errors import InputError
from flowtape.stream.journal_files import FolderLock, JournalError, OsFiles
from flowtape.stream.session import Session, SessionError, is_id

_GENESIS_NAME, _LOCK_NAME = "genesis.json", "writer.lock"
_LEFTOVER = ".deleting-"
_AGE = re.compile(r"(\d+(?:\.\d+)?)(m|h|d|w)", re.ASCII)
_AGE_UNIT_US = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)(i?)b", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much sessions are kept; without any limit all are.

    Attributes:
        older_than_us: they go when nothing was written to them for longer.
        total_bytes: the oldest go until all sessions together have at most this.
        keep_count: so many of the newest stay whatever the others say; alone, all others go.
    """

    older_than_us: int | None = None
    total_bytes: int | None = None
    keep_count: int | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """A session that goes; `why` says because of what."""

    id: str
    folder: Path
    label: str
    created: str
    size_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Spared:
    """A session that would go, and why it stays."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Which sessions go, oldest first, and which would but stay."""

    pruned: tuple[Pruned, ...]
    spared: tuple[Spared, ...]


def parse_age_us(text: str, option: str) -> int:
    """Return an age such as `90m`, `12h`, `30d` or `4w` in microseconds; raises InputError."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise InputError(f"{option} must be an age such as 12h or 30d, was {text!r}")
    return int(Decimal(match[1]) * _AGE_UNIT_US[match[2]])


def parse_bytes(text: str, option: str) -> int:
    """Return a size such as `500MB`, `2GB` or `1.5GiB` in bytes; raises InputError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"{option} must be a size such as 500MB or 2GB, was {text!r}")
    step = 1024 if match[3] else 1000
    return int(Decimal(match[1]) * step ** " kmgt".index(match[2].lower() or " "))


def parse_retention(text: str, option: str) -> Limits:
    """Return the limit that an age or a size such as `30d` or `20GB` sets; raises InputError."""
    if _AGE.fullmatch(text):
        return Limits(older_than_us=parse_age_us(text, option))
    if _SIZE.fullmatch(text):
        return Limits(total_bytes=parse_bytes(text, option))
    raise InputError(f"{option} must be an age such as 30d or a size such as 20GB, was {text!r}")


def plan(
    store: SessionStore,
    named: Sequence[str],
    limits: Limits,
    now: datetime,
    *,
    labelled: bool = False,
    with_branches: bool = False,
    spared: AbstractSet[str] = frozenset(),
) -> Plan:
    """Say which sessions go; nothing is changed.

    `named` are ids, their beginnings, folders or `last`; a folder may lie anywhere. `labelled`
    lets limits take sessions with labels, `with_branches` takes whatever branched from one that
    goes. The ids `spared` stay.

    Raises InputError when one that is named is none, is being written, or has branches that stay.
    """
    root = store.root.resolve()
    folders = [root / folder.name for folder in store.folders() if not folder.is_symlink()]
    asked = {_named(store, ref) for ref in named}
    kept = [_look_at(folder) for folder in {*folders, *asked}]
    kept.sort(key=lambda one: (one.written_us, one.id))
    choice = _Choice(kept, spared, with_branches=with_branches)
    for one in kept:
        if one.folder in asked:
            continue
        if one.problem:
            choice.hold(one, one.problem)
        elif one.label and not labelled:
            choice.hold(one, f"it has the label {one.label!r}")
    choice.take_named([one for one in kept if one.folder in asked])
    ours = [one for one in kept if one.folder in folders]
    passed = _apply(limits, ours, choice, now) if limits != Limits() else []
    return Plan(
        tuple(one.pruned(choice.going[one.folder]) for one in kept if one.folder in choice.going),
        tuple(Spared(one.id, choice.why_not(one)) for one in passed),
    )


def prune(store: SessionStore, pruned: Sequence[Pruned]) -> Plan:
    """Delete sessions for good; returns which are gone, and which are being written by now.

    What interrupted deletions left is removed first. Raises InputError when a folder cannot be
    deleted; those before it are gone then.
    """
    for root in sorted({store.root.resolve(), *(one.folder.parent for one in pruned)}):
        _remove_leftovers(root)
    gone, stayed = [], []
    for one in pruned:
        try:
            _delete(one.folder)
            gone.append(one)
        except JournalError as error:
            stayed.append(Spared(one.id, str(error)))
    return Plan(tuple(gone), tuple(stayed))


def retain(
    store: SessionStore,
    limits: Limits,
    now: datetime,
    *,
    spared: AbstractSet[str] = frozenset(),
) -> list[Pruned]:
    """Delete the sessions beyond limits, as when another begins; returns those that are gone.

    Raises InputError when a folder cannot be deleted.
    """
    return list(prune(store, plan(store, (), limits, now, spared=spared).pruned).pruned)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A session as it lies there; `problem` says why it cannot be read, if so."""

    folder: Path
    size_bytes: int
    written_us: int
    label: str = ""
    created: str = ""
    parent_id: str | None = None
    problem: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    def pruned(self, why: str) -> Pruned:
        return Pruned(self.id, self.folder, self.label, self.created, self.size_bytes, why)


class _Choice:
    """Chooses what goes so that no branch ever stays behind without its parent."""

    def __init__(self, kept: list[_Kept], spared: AbstractSet[str], *, with_branches: bool) -> None:
        self.going: dict[Path, str] = {}
        self._held = {one.folder: "another session needs it" for one in kept if one.id in spared}
        self._with_branches = with_branches
        self._branches: dict[str, list[_Kept]] = {}
        for one in kept:
            if one.parent_id is not None:
                self._branches.setdefault(one.parent_id, []).append(one)

    def hold(self, one: _Kept, why: str) -> None:
        """Have a session stay that does not go yet."""
        if one.folder not in self.going:
            self._held.setdefault(one.folder, why)

    def take_named(self, asked: list[_Kept]) -> None:
        """Take what people named, all or nothing; raises InputError."""
        for one in asked:
            self.take(one, "named")
        for one in asked:
            if why := self.why_not(one):
                raise InputError(f"session {one.id} stays: {why}; nothing was deleted")

    def take(self, one: _Kept, why: str) -> None:
        """Take a session and, where that is asked for, its branches."""
        self.going[one.folder] = why
        for branch in self._family(one)[1:]:
            self.going.setdefault(branch.folder, f"branched from {one.id}")

    def why_not(self, one: _Kept) -> str:
        """Say why a session cannot go; nothing when it can."""
        for member in self._family(one):
            if member.folder not in self._held and (busy := _busy(member.folder)):
                self._held[member.folder] = busy
            if member.folder in self._held:
                why = self._held[member.folder]
                return why if member is one else f"its branch {member.id} stays: {why}"
            for branch in self._branches.get(member.id, ()):
                if branch.folder not in self.going and not self._with_branches:
                    return f"{branch.id} branched from it; --with-branches takes both"
        return ""

    def _family(self, one: _Kept) -> list[_Kept]:
        family = [one]
        for member in family if self._with_branches else ():
            family += [b for b in self._branches.get(member.id, ()) if b not in family]
        return family


def _apply(limits: Limits, ours: list[_Kept], choice: _Choice, now: datetime) -> list[_Kept]:
    """Choose what goes beyond limits, oldest first; return what would go but stays."""
    newest = max(len(ours) - (limits.keep_count or 0), 0)
    for one in ours[newest:]:
        choice.hold(one, f"it is among the newest {limits.keep_count}")
    candidates, passed = ours[:newest], []
    now_us = int(now.timestamp() * 1_000_000)
    if limits.older_than_us is not None:
        old = [one for one in candidates if now_us - one.written_us > limits.older_than_us]
        passed += _take(choice, old, "too old", lambda: False)
    if limits.total_bytes is not None:
        total_bytes = limits.total_bytes

        def fits() -> bool:
            left = (one.size_bytes for one in ours if one.folder not in choice.going)
            return sum(left) <= total_bytes

        passed += _take(choice, candidates, "too much in all", fits)
    if limits.older_than_us is None and limits.total_bytes is None:
        passed += _take(
            choice, candidates, f"not among the newest {limits.keep_count}", lambda: False
        )
    return [one for one in dict.fromkeys(passed) if one.folder not in choice.going]


def _take(
    choice: _Choice, candidates: list[_Kept], why: str, enough: Callable[[], bool]
) -> list[_Kept]:
    """Take candidates, oldest first, until it is enough; return those that cannot go."""
    passed: list[_Kept] = []
    while not enough():
        passed = []
        for one in candidates:
            if one.folder in choice.going:
                continue
            if not choice.why_not(one):
                # Its parent, which is older, may go now.
                choice.take(one, why)
                break
            passed.append(one)
        else:
            break
    return passed


def _named(store: SessionStore, ref: str) -> Path:
    """Return the folder of a session by what people call it; raises InputError."""
    root = store.root.resolve()
    try:
        folder = store.open(ref).folder
    except SessionError as error:
        # A damaged one may go too, by its whole id.
        folder = store.root / ref.upper()
        if not (is_id(ref.upper()) and (folder / _GENESIS_NAME).is_file()):
            raise InputError(f"{error}; delete it by hand") from None
    if folder.is_symlink():
        raise InputError(f"{folder} is a link to {folder.resolve()}; name that, or delete the link")
    return root / folder.name if folder.parent.resolve() == root else folder.resolve()


def _look_at(folder: Path) -> _Kept:
    size_bytes, written_ns = 0, 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stat = os.lstat(os.path.join(place, name))
                size_bytes += stat.st_size
                # Whoever looks whether a lock is free writes to it.
                written_ns = max(written_ns, 0 if name == _LOCK_NAME else stat.st_mtime_ns)
    try:
        session = Session.open(folder)
    except SessionError as error:
        return _Kept(folder, size_bytes, written_ns // 1_000, problem=str(error))
    parent = session.genesis.parent
    return _Kept(
        folder,
        size_bytes,
        written_ns // 1_000,
        session.label,
        session.created,
        None if parent is None else parent.id,
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold every journal of a session; raises JournalError when one is being written."""
    locks: list[FolderLock] = []
    try:
        for place, _, names in os.walk(folder):
            if _LOCK_NAME in names:
                locks.append(FolderLock(Path(place)))
        yield
    finally:
        for lock in locks:
            lock.release()


def _busy(folder: Path) -> str:
    """Say who writes a session; nothing when no one does."""
    try:
        with _locked(folder):
            return ""
    except JournalError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"


def _delete(folder: Path) -> None:
    """Delete a folder, whole or not at all; one that is gone already is passed over."""
    condemned = folder.with_name(_LEFTOVER + folder.name)
    try:
        with _locked(folder):
            shutil.rmtree(condemned, ignore_errors=True)
            folder.rename(condemned)
            OsFiles().sync_folder(folder.parent)
            shutil.rmtree(condemned)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(
            f"{error.filename or folder} cannot be deleted: {error.strerror}; check who owns it"
        ) from None


def _remove_leftovers(root: Path) -> None:
    for path in root.glob(f"{_LEFTOVER}*"):
        is_ours = is_id(path.name.removeprefix(_LEFTOVER))
        if is_ours and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
