"""Where sessions lie, and how people name them."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from flowtape.stream.errors import InputError
from flowtape.stream.session import Session, SessionError

PREFIX_LEAST = 4

WATCHED = "watched.json"
"""In the folder of a session whose inputs are another one's, watched over a hub."""


class SessionStore:
    """The sessions below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folders(self) -> list[Path]:
        """Return the folders of all sessions, oldest first."""
        return sorted(path.parent for path in self.root.glob("*/genesis.json"))

    def sessions(self) -> list[Session]:
        """Return all sessions, oldest first; folders that cannot be read raise SessionError."""
        return [Session.open(folder) for folder in self.folders()]

    def left_live(self, symbols: Sequence[str], market: str) -> Session:
        """Return the newest live session of some instruments that was left without an end.

        Raises InputError when there is none, and when it goes on.
        """
        for folder in reversed(self.folders()):
            with contextlib.suppress(SessionError):
                session = Session.open(folder)
                genesis = session.genesis
                named = [(one.symbol, one.market) for one in genesis.instruments]
                own = named == [(symbol, market) for symbol in symbols] and not genesis.tapes
                own &= not (folder / WATCHED).exists()
                if own and genesis.parent is None and not session.ended:
                    if session.goes_on:
                        raise InputError(f"session {session.id} goes on; stop it first")
                    return session
        raise InputError(
            f"no live session of {' and '.join(f'{market}/{symbol}' for symbol in symbols)} "
            f"below {self.root} was left; "
            "start without --resume"
        )

    def open(self, ref: str) -> Session:
        """Open a session by its folder, its id, the beginning of its id, or `last`.

        Raises InputError when that names none or several, SessionError when it is damaged.
        """
        if (Path(ref) / "genesis.json").is_file():
            return Session.open(Path(ref))
        names = [folder.name for folder in self.folders()]
        if ref == "last" and names:
            return Session.open(self.root / names[-1])
        begins = ref.upper() if len(ref) >= PREFIX_LEAST else " "
        found = [name for name in names if name.startswith(begins)]
        if len(found) == 1:
            return Session.open(self.root / found[0])
        if found:
            raise InputError(f"{len(found)} sessions begin with {ref}; give more of the id")
        raise InputError(f"there is no session {ref} below {self.root}; see: flowtape sessions")
