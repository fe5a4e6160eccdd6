"""The kernel's own tests in C, under AddressSanitizer and UndefinedBehaviorSanitizer."""

import pytest

from tests.kernel import c_builds
from tests.kernel.c_builds import (
    KERNEL,
    PROGRAMS,
    QUICK_ARGUMENTS,
    SANITIZED,
    WARNINGS,
    WRAPPED,
    WRAPPING_PROGRAMS,
    Builds,
)

# First seed and number of seeds of damaged states.
DEEP_SEEDS = ("2", "30")


def ask(builds: Builds, compiler: str, name: str, *arguments: str, timeout_s: float) -> None:
    """Build a program and expect that it finds nothing."""
    if not c_builds.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    flags = (*SANITIZED, WRAPPED) if name in WRAPPING_PROGRAMS else SANITIZED
    try:
        program = builds.program(compiler, flags, name)
    except c_builds.BuildError as error:
        if compiler == "clang" and "libclang_rt" in str(error):
            pytest.skip("clang has no sanitizer runtime here")
        raise
    ran = c_builds.run([program, *arguments], timeout_s)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout == f"{name.removeprefix('test_')}: all good\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_gcc_finds_nothing(name: str, builds: Builds) -> None:
    ask(builds, "gcc", name, *QUICK_ARGUMENTS.get(name, ()), timeout_s=100)


def test_clang_warns_of_nothing() -> None:
    """Every run asks for its warnings only, as sanitizers with gcc have run the programs."""
    if not c_builds.has("clang"):
        pytest.skip("clang is not installed")
    sources = [path for folder in ("src", "tests") for path in (KERNEL / folder).glob("*.c")]
    include = f"-I{KERNEL / 'include'}"
    c_builds.call(["clang", *c_builds.FLAGS, *WARNINGS, "-fsyntax-only", include, *sources])


@pytest.mark.deep
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROGRAMS)
def test_clang_finds_nothing(name: str, builds: Builds) -> None:
    ask(builds, "clang", name, *QUICK_ARGUMENTS.get(name, ()), timeout_s=200)


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_many_damaged_states_break_nothing(builds: Builds) -> None:
    ask(builds, "gcc", "test_damaged_states", *DEEP_SEEDS, timeout_s=800)
