"""Scripts of random calls against the kernel, under AddressSanitizer and UBSan.

`fuzz_kernel -s SEED -n 1` of the standalone build plays the script that a failure names.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kernel import c_builds
from tests.kernel.c_builds import SANITIZED, WRAPPED, Builds

# Damaged states bring any numbers, so that sums wrap; a kernel of sound inputs must not need that.
KINDS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "sound": (SANITIZED, ()),
    "damaged": ((*SANITIZED, WRAPPED), ("-DFUZZ_DAMAGE",)),
}
SCRIPTS = 200
FUZZER_SECONDS = 90

kinds = pytest.mark.parametrize("kind", KINDS)


def standalone(builds: Builds, kind: str) -> Path:
    flags, defines = KINDS[kind]
    return builds.program("gcc", flags, "fuzz_kernel", (*defines, "-DFUZZ_STANDALONE"))


def play(program: Path, *arguments: str, timeout_s: float) -> str:
    ran = c_builds.run([program, *arguments], timeout_s=timeout_s)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4000:]
    return ran.stdout + ran.stderr


@kinds
def test_random_scripts_break_nothing(kind: str, builds: Builds) -> None:
    if not c_builds.has("gcc"):
        pytest.skip("gcc is not installed")
    program = standalone(builds, kind)
    said = play(program, "-n", f"{SCRIPTS}", timeout_s=100)
    assert said == f"fuzz_kernel: {SCRIPTS} scripts\n"


@pytest.mark.deep
@pytest.mark.timeout(900)
@kinds
def test_scripts_grown_by_coverage_break_nothing(kind: str, builds: Builds, tmp_path: Path) -> None:
    """libFuzzer where clang has it, otherwise random scripts of other seeds for as long."""
    try:
        flags, defines = KINDS[kind]
        program = builds.program("clang", (*flags, "-fsanitize=fuzzer"), "fuzz_kernel", defines)
    except (FileNotFoundError, c_builds.BuildError) as error:
        if isinstance(error, c_builds.BuildError) and "libclang_rt" not in str(error):
            raise
        program = standalone(builds, kind)
        arguments = ["-s", "1000000", "-n", "100000000", "-t", str(FUZZER_SECONDS)]
        assert "scripts" in play(program, *arguments, timeout_s=600)
        return
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    limits = [f"-max_total_time={FUZZER_SECONDS}", "-max_len=4096", "-timeout=30", "-seed=1"]
    prefix = f"-artifact_prefix={tmp_path}/"
    said = play(program, str(corpus), *limits, prefix, "-print_final_stats=1", timeout_s=800)
    assert "stat::number_of_executed_units" in said
