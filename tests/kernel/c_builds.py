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

# The product's own flags, but for the optimisation.
FLAGS = ("-std=c11", "-ffp-contract=off", "-fwrapv")
WARNINGS = tuple(
    f"-W{warning}"
    for warning in ("all", "extra", "pedantic", "shadow", "strict-prototypes", "vla", "error")
)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

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


def build(
    compiler: str, flags: Sequence[str], source: Path, program: Path, kernel: Path = KERNEL
) -> None:
    """Compile a program of kernel/tests together with the whole kernel, on all processors.

    Raises:
        BuildError: The compiler found something wrong.
    """
    command = [compiler, *flags, f"-I{kernel / 'include'}"]

    def compile_one(part: Path) -> Path:
        target = program.parent / f"{program.name}.{part.stem}.o"
        call([*command, *WARNINGS, "-c", part, "-o", target])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, [source, *sorted((kernel / "src").glob("*.c"))]))
    call([*command, *objects, "-o", program])


def call(command: Sequence[str | Path]) -> None:
    """Run a compiler.

    Raises:
        BuildError: It found something wrong.
    """
    ran = run(command, timeout_s=300)
    if ran.returncode != 0:
        raise BuildError(ran.stderr)


def digests(compiler: str, flags: Sequence[str], folder: Path, runner: Sequence[str] = ()) -> str:
    """What golden.c says when it is built so; `runner` runs programs of another processor."""
    program = folder / "golden"
    build(compiler, (*FLAGS, *flags), KERNEL / "tests/golden.c", program)
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
        said = digests("gcc", ("-O3",), Path(folder))
    if list(arguments) == ["--write"]:
        GOLDEN.write_text(said)
    else:
        sys.stdout.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
