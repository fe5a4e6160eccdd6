"""A session in one file, with all it needs to be run again elsewhere.

A zip archive of the session's folder, the Parquet files of its tapes, and the file of its strategy:

bundle.json          what this is, the digest that it should come to, and how to check that
session/...          genesis, inputs, commands, links, summary
tapes/<n>/...        the parts of the n-th tape, as they lie in a tape store
strategy/<file>.py   the file that the strategy was loaded from

Nothing of it is run by unpacking it; the strategy is run only when someone asks for that.
"""

import json
import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from flowtape.replay.session_rows import OpenTape, opened_tapes
from flowtape.replay.staging import staged
from flowtape.stream.errors import InputError
from flowtape.stream.genesis import StrategyIdentity
from flowtape.stream.session import Session, SessionError, is_id
from flowtape.stream.strategy import Strategy

SCHEMA = 1

_SESSION = re.compile(
    r"genesis\.json|summary\.json|(commands|links)/\d{6}\.arrows(\.open)?"
    r"|inputs/\d{12}\.parquet|inputs/\d{12}\.journal/\d{6}\.arrows(\.open)?"
)
_ALLOWED = re.compile(
    rf"bundle\.json|session/({_SESSION.pattern})|strategy/[\w-]+\.py"
    r"|tapes/\d{1,3}/venue=\w+/market=\w+/symbol=\w+/date=[\d-]+/part-\d+\.parquet"
)


def write_bundle(
    session: Session, open_tape: OpenTape, strategy: Strategy | None, path: Path
) -> None:
    """Write a session that has ended to one file; the file is there whole or not at all.

    Raises InputError when it has not ended, when its strategy's file is not the one it ran, or when
    the file cannot be written, and SessionError when its tapes are gone.
    """
    if session.summary is None:
        raise InputError(f"session {session.id} has not ended; a bundle needs its digest")
    tapes = opened_tapes(session, open_tape)
    source = None if strategy is None else _source_of(session, strategy)
    about = {
        "flowtape_bundle": SCHEMA,
        "session": session.id,
        "digest": session.summary.digest,
        "check": f"flowtape verify {path.name}",
        "run_strategy_again": f"flowtape verify {path.name} --deep" if source else None,
    }
    with staged(path) as staging, zipfile.ZipFile(staging, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", json.dumps(about, indent=1) + "\n")
        for file in sorted(session.folder.rglob("*")):
            name = file.relative_to(session.folder).as_posix()
            if _SESSION.fullmatch(name):
                archive.write(file, f"session/{name}")
        if source is not None:
            archive.write(source, f"strategy/{source.name}")
        for number, tape in enumerate(tapes):
            for part in tape.parts:
                # Parquet is packed already.
                inner = "/".join(part.path.parts[-5:])
                archive.write(part.path, f"tapes/{number}/{inner}", zipfile.ZIP_STORED)


def _source_of(session: Session, strategy: Strategy) -> Path:
    identity = session.genesis.strategy
    assert identity is not None
    source = StrategyIdentity.source_of(strategy)
    if source is None or StrategyIdentity.of(strategy).sha256 != identity.sha256:
        raise InputError(
            f"{identity.name} is not the file that session {session.id} ran; bring that back"
        )
    return source


def is_bundle(path: Path) -> bool:
    """Tell whether a file is a bundle."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return False
    with zipfile.ZipFile(path) as archive:
        return "bundle.json" in archive.namelist()


def unpack(path: Path, root: Path) -> Session:
    """Unpack a bundle to a new session below `root`; does nothing when that is there already.

    Raises InputError when it is no bundle or holds anything else, SessionError when it is damaged.
    """
    staging: Path | None = None
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("bundle.json"))
            ulid = str(about["session"])
            if about["flowtape_bundle"] != SCHEMA or not is_id(ulid):
                raise InputError(
                    f"{path} is a bundle of another kind; this flowtape reads {SCHEMA}"
                )
            target = root / ulid
            if target.exists():
                return Session.open(target)
            for name in archive.namelist():
                if not _ALLOWED.fullmatch(name):
                    raise InputError(f"{path} holds {name!r}, which has no place in a bundle")
            root.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=root))
            for name in archive.namelist():
                _unpack_one(archive, name, staging)
        _find_tapes(staging, target)
        Session.open(staging)
        staging.replace(target)
        return Session.open(target)
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError) as error:
        raise SessionError(f"{path} cannot be read as a bundle: {error}") from None
    except OSError as error:
        raise InputError(f"cannot unpack {path} to {root}: {error.strerror or error}") from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _unpack_one(archive: zipfile.ZipFile, name: str, folder: Path) -> None:
    inner = PurePosixPath(name)
    target = folder / (inner.relative_to("session") if inner.parts[0] == "session" else inner)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as packed, target.open("xb") as file:
        shutil.copyfileobj(packed, file)


def _find_tapes(staging: Path, target: Path) -> None:
    """Have the session look for its tapes where they will lie."""
    path = staging / "genesis.json"
    made = json.loads(path.read_text(encoding="utf-8"))
    places = []
    for number in range(len(made["places"])):
        (symbol,) = (staging / "tapes" / str(number)).glob("venue=*/market=*/symbol=*")
        places.append(str((target / symbol.relative_to(staging)).absolute()))
    made["places"] = places
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
