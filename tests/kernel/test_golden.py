"""What the kernel says on fixed corpora changes only with its semantics version.

The digests know nothing of right and wrong; they stand guard over machines and compilers, and over
changes that were not meant.
"""

import pytest

from tests.kernel import c_builds
from tests.kernel.c_builds import Builds

BUILDS = [
    ("gcc", "-O0", ""),
    ("gcc", "-O3", "-march=native"),
    ("clang", "-O0", ""),
    ("clang", "-O3", ""),
    ("clang", "-O3", "-march=native"),
]


def need(*programs: str) -> None:
    for program in programs:
        if not c_builds.has(program):
            pytest.skip(f"{program} is not installed")


def expect(said: str) -> None:
    """Compare with golden.txt and say what a difference means."""
    kept = c_builds.GOLDEN.read_text()
    if said == kept:
        return
    changed = [
        f"  now  {now}\n  kept {then}"
        for now, then in zip(said.splitlines(), kept.splitlines(), strict=False)
        if now != then
    ]
    now, then = c_builds.semantics_version(said), c_builds.semantics_version(kept)
    advice = (
        "Results changed but FLOW_SEMANTICS_VERSION did not. If the change is meant, raise it in "
        "kernel/include/flow_types.h, then"
        if now == then
        else "The semantics version is new:"
    )
    pytest.fail(
        f"{advice} write the digests anew with `python -m tests.kernel.c_builds --write` (with the "
        "same version only if golden.c itself changed).\n" + "\n".join(changed),
        pytrace=False,
    )


def test_digests_are_those_kept(builds: Builds) -> None:
    need("gcc")
    expect(c_builds.digests(builds, "gcc", ("-O3",)))


def test_the_corpora_see_everything_that_can_happen() -> None:
    seen = dict(
        pair.split("=") for pair in c_builds.GOLDEN.read_text().splitlines()[-1].split()[1:]
    )
    assert seen["kinds"] == f"{(1 << 7) - 1:x}"
    assert seen["changes"] == f"{(1 << 18) - 1:x}"
    assert seen["reasons"] == f"{(1 << 16) - 1:x}"


@pytest.mark.deep
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("compiler", "level", "machine"), BUILDS)
def test_compilers_agree(compiler: str, level: str, machine: str, builds: Builds) -> None:
    need(compiler)
    expect(c_builds.digests(builds, compiler, tuple(filter(None, (level, machine)))))


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_another_processor_agrees(level: str, builds: Builds) -> None:
    need(c_builds.AARCH64_GCC, c_builds.AARCH64_RUN)
    runner = (c_builds.AARCH64_RUN,)
    expect(c_builds.digests(builds, c_builds.AARCH64_GCC, (level, "-static"), runner))


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", c_builds.PROGRAMS)
def test_c_tests_pass_on_another_processor(name: str, builds: Builds) -> None:
    need(c_builds.AARCH64_GCC, c_builds.AARCH64_RUN)
    flags = (*c_builds.FLAGS, "-O2", "-static")
    program = builds.program(c_builds.AARCH64_GCC, flags, name)
    ran = c_builds.run([c_builds.AARCH64_RUN, program], timeout_s=800)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout == f"{name.removeprefix('test_')}: all good\n"
