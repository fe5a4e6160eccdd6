"""The kernel's own tests in C, under AddressSanitizer and UndefinedBehaviorSanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "kernel"
WARNINGS = ("all", "extra", "pedantic", "shadow", "strict-prototypes", "vla", "error")
FLAGS = [
    *("-std=c11", "-g", "-O1", "-ffp-contract=off"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *(f"-W{warning}" for warning in WARNINGS),
]


PROGRAMS = sorted((KERNEL / "tests").glob("test_*.c"))


@pytest.mark.parametrize("source", PROGRAMS, ids=lambda path: str(path.stem))
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_tests_pass_under_sanitizers(compiler: str, source: Path, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    program = tmp_path / source.stem
    sources = [*sorted((KERNEL / "src").glob("*.c")), source]
    # Sums of rows that were changed behind their check may wrap, as they do in the product.
    wraps = ["-fwrapv"] if source.stem == "test_changed_rows" else []
    command = [
        compiler,
        *FLAGS,
        *wraps,
        f"-I{KERNEL / 'include'}",
        *map(str, sources),
        "-o",
        str(program),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    if compiler == "clang" and "libclang_rt" in built.stderr:
        pytest.skip("clang has no sanitizer runtime here")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout == f"{source.stem.removeprefix('test_')}: all good\n"
