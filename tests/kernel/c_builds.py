"""Builds of the C kernel for checks, and the digests of what it says on fixed corpora.

`python -m tests.kernel.c_builds --write` plays the corpora of kernel/tests/golden.c and writes
golden.txt anew: only together with a new FLOW_SEMANTICS_VERSION, or when the corpora change.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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
    """Programs of kernel/tests; of the kernel's objects there is one set per compiler and flags."""

    def __init__(self, folder: Path, kernel: Path = KERNEL) -> None:
        self._folder = folder
        self._kernel = kernel
        self._objects: dict[tuple[str, ...], list[Path]] = {}

    def program(
        self, compiler: str, flags: Sequence[str], name: str, defines: Sequence[str] = ()
    ) -> Path:
        """Compile kernel/tests/`name`.c, with `defines` of its own, and link the kernel to it.

        Raises:
            BuildError: The compiler found something wrong.
        """
        command = (compiler, *flags, f"-I{self._kernel / 'include'}")
        if command not in self._objects:
            self._objects[command] = self._compile(command, len(self._objects))
        objects = self._objects[command]
        program = objects[0].parent / "-".join([name, *(part.strip("-") for part in defines)])
        source = self._kernel / "tests" / f"{name}.c"
        call([*command, *WARNINGS, *defines, source, *objects, "-o", program])
        return program

    def _compile(self, command: Sequence[str], number: int) -> list[Path]:
        """The whole kernel, on all processors."""
        folder = self._folder / f"{number}"
        folder.mkdir()

        def compile_one(source: Path) -> Path:
            target = folder / f"{source.stem}.o"
            call([*command, *WARNINGS, "-c", source, "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(compile_one, sorted((self._kernel / "src").glob("*.c"))))


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
