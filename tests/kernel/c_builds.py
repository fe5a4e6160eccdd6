"""Builds of the C kernel for checks, and the digests of what it says on fixed corpora.

`python -m tests.kernel.c_builds --write` plays the corpora of kernel/tests/golden.c and writes
golden.txt anew: only together with a new FLOW_SEMANTICS_VERSION, or when the corpora change.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "kernel"
GOLDEN = Path(__file__).with_name("golden.txt")

# The product's own flags, but for the optimisation; under sanitizers sums of a sound kernel must
# not need to wrap.
UNWRAPPED = ("-std=c11", "-ffp-contract=off")
WRAPPED = "-fwrapv"
FLAGS = (*UNWRAPPED, WRAPPED)
WARNINGS = tuple(
    f"-W{warning}"
    for warning in ("all", "extra", "pedantic", "shadow", "strict-prototypes", "vla", "error")
)
SANITIZED = (
    *(*UNWRAPPED, "-g1", "-O1"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)

PROGRAMS = sorted(path.stem for path in (KERNEL / "tests").glob("test_*.c"))
# These bring numbers that nobody checked, and sums of them wrap.
WRAPPING_PROGRAMS = ("test_changed_rows", "test_damaged_states")
# First seed and number of seeds, where all would take long.
QUICK_ARGUMENTS = {"test_damaged_states": ("1", "1")}

AARCH64_GCC = "aarch64-linux-gnu-gcc"
AARCH64_RUN = "qemu-aarch64"


class BuildError(Exception):
    """A compiler refused; the text is what it said."""


def run(command: Sequence[str | Path], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program, keep what it says, and never raise for its exit status."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def has(*programs: str) -> bool:
    return all(shutil.which(program) for program in programs)


class Builds:
    """Programs of kernel/tests; of the kernel's objects there is one set per compiler and flags.

    What is there already, from the same sources and by the same command, is not made again: runs
    and processes that are given the same folder share it.
    """

    def __init__(self, folder: Path, kernel: Path = KERNEL) -> None:
        self._folder = folder
        self._kernel = kernel

    def program(
        self, compiler: str, flags: Sequence[str], name: str, defines: Sequence[str] = ()
    ) -> Path:
        """Compile kernel/tests/`name`.c, with `defines` of its own, and link the kernel to it.

        Raises:
            BuildError: The compiler found something wrong.
        """
        command = (compiler, *flags, *WARNINGS, f"-I{self._kernel / 'include'}")
        parts = ("include", "src")
        objects = self._made(command, parts, lambda folder: self._compile(folder, command))
        source = self._kernel / "tests" / f"{name}.c"

        def link(folder: Path) -> None:
            call([*command, *defines, source, *sorted(objects.glob("*.o")), "-o", folder / name])

        return self._made((*command, *defines, name), (*parts, "tests"), link) / name

    def _made(
        self, command: Sequence[str], parts: Sequence[str], make: Callable[[Path], None]
    ) -> Path:
        """Return the folder of what a command makes of these parts; only one process makes it."""
        digest = hashlib.sha256()
        for word in (run([command[0], "--version"], timeout_s=60).stdout, *command):
            digest.update(word.encode() + b"\0")
        for part in parts:
            for path in sorted((self._kernel / part).glob("*.[ch]")):
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        key = digest.hexdigest()[:32]
        folder = self._folder / key
        with (self._folder / f"{key}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=self._folder) as unfinished:
                    made = Path(unfinished) / "made"
                    made.mkdir()
                    make(made)
                    made.rename(folder)
            os.utime(folder)
        return folder

    def _compile(self, folder: Path, command: Sequence[str]) -> None:
        """The whole kernel, on all processors."""

        def compile_one(source: Path) -> None:
            call([*command, "-c", source, "-o", folder / f"{source.stem}.o"])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, sorted((self._kernel / "src").glob("*.c"))))

    def forget_old(self, keep_count: int = 60) -> None:
        """Remove what was not asked for the longest."""
        folders = [path for path in self._folder.iterdir() if path.is_dir()]
        for folder in sorted(folders, key=lambda path: -path.stat().st_mtime)[keep_count:]:
            shutil.rmtree(folder, ignore_errors=True)


def call(command: Sequence[str | Path]) -> None:
    """Run a compiler.

    Raises:
        BuildError: It found something wrong.
    """
    ran = run(command, timeout_s=300)
    if ran.returncode != 0:
        raise BuildError(ran.stderr)


def digests(builds: Builds, compiler: str, flags: Sequence[str], runner: Sequence[str] = ()) -> str:
    """What golden.c says when it is built so; `runner` runs programs of another processor."""
    program = builds.program(compiler, (*FLAGS, *flags), "golden")
    said = run([*runner, program], timeout_s=300)
    if said.returncode != 0:
        raise BuildError(said.stdout + said.stderr)
    return said.stdout


def semantics_version(text: str) -> int:
    """The version named by the first line of digests."""
    found = re.match(r"semantics version=(\d+)\n", text)
    if found is None:
        raise ValueError("the digests name no semantics version")
    return int(found[1])


def main(arguments: Sequence[str]) -> int:
    """Write golden.txt, or say what it would hold."""
    with tempfile.TemporaryDirectory() as folder:
        said = digests(Builds(Path(folder)), "gcc", ("-O3",))
    if list(arguments) == ["--write"]:
        GOLDEN.write_text(said)
    else:
        sys.stdout.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
