"""Sessions kept by watchers: which session each of them watched, and going on with one."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.stream.inputs import Inputs
    from flowtape.stream.session import Session


def note_watched(folder: Path, session_id: str) -> None:
    """Note which session one is kept of."""
    from flowtape.replay.session_store import WATCHED

    text = json.dumps({"session": session_id}) + "\n"
    (folder / WATCHED).write_text(text, encoding="utf-8")


def left_watching(root: Path, session_id: str) -> "Session":
    """Return the newest session that was kept of another one and left without an end.

    Raises InputError, which says why, when there is none.
    """
    from flowtape.stream.session import Session, SessionError

    for folder in _kept_of(root, session_id):
        with suppress(SessionError):
            session = Session.open(folder)
            if session.goes_on:
                raise InputError(f"session {session.id} goes on; stop it first")
            if session.ended:
                raise InputError(
                    f"session {session.id} has all of {session_id}; there is nothing to go on with"
                )
            return session
    raise InputError(
        f"no session below {root} was kept of {session_id}; start one with --record, "
        "without --resume"
    )


def last_input(session: "Session", count: int) -> "Inputs | None":
    """Return the last of so many inputs of a session, None of none."""
    from flowtape.stream.input_log import read_inputs

    if not count:
        return None
    return next(iter(read_inputs(session.folder / "inputs", count))).slice(0, 1)


def _kept_of(root: Path, session_id: str) -> Iterator[Path]:
    from flowtape.replay.session_store import WATCHED

    for path in sorted(root.glob(f"*/{WATCHED}"), reverse=True):
        with suppress(OSError, ValueError):
            if json.loads(path.read_text(encoding="utf-8")).get("session") == session_id:
                yield path.parent
