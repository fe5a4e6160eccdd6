"""C loops to compare with, built by the system's compiler as the scripts ask for them."""

import ctypes
import os
import subprocess
from pathlib import Path

from benchmarks import data

SOURCES = Path(__file__).parent / "native"


def compiled(source: str, *flags: str) -> ctypes.CDLL:
    """Build a file of `native/` with -O3 and return it (`CC`, or `cc`).

    Raises CalledProcessError where there is no compiler.
    """
    folder = data.BUILD / "native"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{Path(source).stem}{''.join(flags)}.so"
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O3", "-fPIC", "-shared", *flags]
    subprocess.run([*command, str(SOURCES / source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))
