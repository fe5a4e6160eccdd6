"""The command line within this process, for what does not need one of its own."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from flowtape.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def flowtape(*words: str | Path) -> Said:
    """Run a command to its end."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
    texts = []
    for kept in (out, err):
        kept.seek(0)
        texts.append(kept.read())
    return Said(code, *texts)
