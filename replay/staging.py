"""Files that are there whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flowtape.stream.errors import InputError


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Give a place to write a file to, which takes its name when the block is left in peace.

    Raises InputError when the system does not let it be written.
    """
    staging: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(descriptor)
        staging = Path(name)
        yield staging
        staging.chmod(0o644)
        staging.replace(path)
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {why}; give another --out") from None
    finally:
        if staging is not None:
            staging.unlink(missing_ok=True)
