"""All-or-nothing changes of one tape.

New files are made in a staging folder of the store. `commit` first writes down, durably, which
files go where; from then on the change is finished by whoever comes next, should its maker be
killed. Before that moment it leaves nothing but a staging folder, which the next change drops.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Self

import msgspec

from flowtape.stream.errors import TapeError
from flowtape.stream.instrument import Instrument

_STAGING = ".staging"
_PLAN = "commit.json"


class _Plan(msgspec.Struct):
    moves: dict[str, str]
    deletes: list[str]


class TapeTransaction:
    """One change of the tape of `instrument` below `root`; only one runs at a time.

    Use as a context manager: leaving it without `commit` leaves the tape as it was. Raises
    TapeError on entering when another change of the same tape is under way.
    """

    def __init__(self, root: Path, instrument: Instrument) -> None:
        self.root = root
        self._name = f"{instrument.venue}-{instrument.market}-{instrument.symbol}"
        self._tape = f"{instrument.market}/{instrument.symbol}"
        self.folder = root / _STAGING / self._name
        self._plan = _Plan({}, [])
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self.folder, wait=False)
        except OSError as error:
            raise TapeError(f"{self.root} cannot be written to: {error.strerror}") from None
        if self._lock is None:
            raise TapeError(f"another import into {self._tape} is running; wait until it is done")
        _settle_folder(self.root, self.folder)
        self.folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            _release(self._lock, self.folder)

    def place(self, staged: Path, target: Path) -> None:
        """Plan to move a file of the staging folder to `target`, a path below the root."""
        source = staged.relative_to(self.folder).as_posix()
        self._plan.moves[source] = target.relative_to(self.root).as_posix()

    def delete(self, target: Path) -> None:
        """Plan to delete `target`, a path below the root, unless something is placed there."""
        self._plan.deletes.append(target.relative_to(self.root).as_posix())

    def commit(self) -> None:
        """Make the planned change; it is durable when this returns."""
        placed = set(self._plan.moves.values())
        self._plan.deletes = [name for name in self._plan.deletes if name not in placed]
        if not self._plan.moves and not self._plan.deletes:
            return
        for name in self._plan.moves:
            _sync(self.folder / name)
        plan = self.folder / (_PLAN + ".tmp")
        plan.write_bytes(msgspec.json.encode(self._plan))
        _sync(plan)
        _sync(self.folder)
        plan.replace(self.folder / _PLAN)
        _sync(self.folder)
        _finish(self.root, self.folder)


def settle(root: Path) -> None:
    """Finish changes that were committed but not carried out, as after a kill.

    Waits for a change that is being carried out right now.
    """
    for plan in (root / _STAGING).glob(f"*/{_PLAN}"):
        with _locked(plan.parent):
            if plan.exists():
                _finish(root, plan.parent)


def drop_leftovers(root: Path) -> int:
    """Finish or drop whatever interrupted changes left behind; return how many there were."""
    count = sum(_each_idle(root, lambda folder: _settle_folder(root, folder)).values())
    with suppress(OSError):
        (root / _STAGING).rmdir()
    return count


def leftovers(root: Path, market: str, symbol: str) -> bool:
    """Tell whether a change of a tape was interrupted."""
    found = _each_idle(root, Path.exists)
    return any(there and name.endswith(f"-{market}-{symbol}") for name, there in found.items())


def _each_idle(root: Path, look: Callable[[Path], bool]) -> dict[str, bool]:
    names = {path.name.removesuffix(".lock") for path in (root / _STAGING).glob("*")}
    found = {}
    for name in sorted(names):
        folder = root / _STAGING / name
        lock = _take_lock(folder, wait=False)
        if lock is not None:
            try:
                found[name] = look(folder)
            finally:
                _release(lock, folder)
    return found


def _settle_folder(root: Path, folder: Path) -> bool:
    if not folder.exists():
        return False
    if (folder / _PLAN).exists():
        _finish(root, folder)
    else:
        shutil.rmtree(folder)
    return True


def _finish(root: Path, folder: Path) -> None:
    try:
        plan = msgspec.json.decode((folder / _PLAN).read_bytes(), type=_Plan)
    except msgspec.MsgspecError as error:
        raise TapeError(f"{folder / _PLAN} is damaged ({error}); delete {folder}") from None
    touched = set()
    for name, target in plan.moves.items():
        source, path = _inside(folder, name), _inside(root, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.exists():
            source.replace(path)
        touched.add(path.parent)
    for target in plan.deletes:
        path = _inside(root, target)
        path.unlink(missing_ok=True)
        touched.add(path.parent)
    for path in touched:
        for changed in (path, *path.relative_to(root).parents):
            if (root / changed).is_dir():
                _sync(root / changed)
    # The plan goes last: while it exists the change can be finished again.
    for path in folder.iterdir():
        if path.name != _PLAN:
            path.unlink() if path.is_file() else shutil.rmtree(path)
    (folder / _PLAN).unlink()
    folder.rmdir()


def _inside(root: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise TapeError(f"{name!r} in a commit plan leads out of {root}; delete the plan")
    return root / pure


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        lock = _take_lock(folder, wait=True)
    except OSError as error:
        raise TapeError(f"{folder} holds an unfinished import: {error.strerror}") from None
    assert lock is not None
    try:
        yield
    finally:
        _release(lock, folder)


def _take_lock(folder: Path, *, wait: bool) -> IO[bytes] | None:
    path = folder.with_name(folder.name + ".lock")
    while True:
        path.parent.mkdir(exist_ok=True)
        # Whoever held the lock before deletes its file, maybe just after we opened it.
        with suppress(FileNotFoundError):
            lock = path.open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                    return lock
            except BlockingIOError:
                lock.close()
                return None
            except BaseException:
                lock.close()
                raise
            lock.close()


def _release(lock: IO[bytes], folder: Path) -> None:
    folder.with_name(folder.name + ".lock").unlink(missing_ok=True)
    lock.close()
    with suppress(OSError):
        folder.parent.rmdir()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
