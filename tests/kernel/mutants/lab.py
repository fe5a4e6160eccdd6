"""Builds the kernel with a mistake in it and asks every suite whether it notices.

The Python extension is built once, against a shared library of the kernel that each mutant then
replaces; so a mutant costs one compilation and the suites, no Rust build.

`python -m tests.kernel.mutants.lab --write` judges all mutants and writes RESULTS.md.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.c_builds import (
    FLAGS,
    KERNEL,
    PROGRAMS,
    QUICK_ARGUMENTS,
    ROOT,
    BuildError,
    call,
    has,
)
from tests.kernel.mutants.table import MUTANTS, Mutant

TESTS = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")
ROW = re.compile(r"\| ([a-z]+-[a-z-]+) \|")
LIBRARY = "libflow_kernel.so"
TIMEOUT_S = 240

RULES = [str(path.relative_to(ROOT)) for path in sorted(TESTS.glob("test_*_rules.py"))]
MODELS = [
    f"tests/kernel/test_{name}.py"
    for name in (
        *("boundary", "orderflow_model", "lanes", "scan", "without_flow"),
        *("against_reference", "execution_machine"),
    )
]

# Links to whatever kernel lies in FLOW_KERNEL_DIR instead of compiling one.
BUILD_RS = """fn main() {
    println!("cargo::rerun-if-env-changed=FLOW_KERNEL_DIR");
    println!("cargo::rustc-link-lib=dylib=flow_kernel");
    println!("cargo::rustc-link-search=native={}", std::env::var("FLOW_KERNEL_DIR").unwrap());
}
"""

# A failure is all that is asked for, not the smallest one, nor is it kept.
NO_SHRINK = """from hypothesis import Phase, settings

settings.register_profile("unshrunk", phases=(Phase.explicit, Phase.generate), database=None)
settings.load_profile("unshrunk")
"""


@dataclass(frozen=True)
class Verdict:
    """What noticed a mutant; empty where nothing did, a dash where nobody asked."""

    mutant: Mutant
    digests: str
    rule: str
    c_program: str
    model: str

    @property
    def reason(self) -> str:
        """The first test that knows what is wrong, not only that something changed."""
        found = (name for name in (self.rule, self.c_program, self.model) if name not in {"", "-"})
        return next(found, "")


def missing() -> str:
    """What the lab needs and does not find, or nothing."""
    return next((program for program in ("gcc", "cargo") if not has(program)), "")


def mutated(mutant: Mutant, text: str) -> str:
    """A source with the mistake in it.

    Raises:
        ValueError: The text to replace does not stand exactly once in the source.
    """
    count = text.count(mutant.old)
    if count != 1:
        raise ValueError(
            f"{mutant.name}: its text stands {count} times in kernel/src/{mutant.file}"
        )
    return text.replace(mutant.old, mutant.new)


class Lab:
    """A copy of the kernel that can be broken."""

    def __init__(self, folder: Path, cargo_target: Path) -> None:
        """Copy and build everything in an empty folder; Rust builds are kept in cargo_target.

        Raises:
            BuildError: Something does not compile, or the kernel as it is does not pass.
        """
        self.folder = folder
        self.kernel = folder / "kernel"
        shutil.copytree(KERNEL, self.kernel)
        for name in ("lib", "sound", "broken"):
            (folder / name).mkdir()
        self._compile(sorted((self.kernel / "src").glob("*.c")), folder / "sound")
        self._link()
        self._build_programs(folder / "sound")
        self._build_extension(cargo_target)
        (folder / "no_shrink.py").write_text(NO_SHRINK)
        self.said = self._digests(folder / "sound")
        sound = self._ask(Mutant("none", "", "", "", ""), folder / "sound")
        if sound.digests or sound.reason:
            raise BuildError(f"the kernel as it is fails: {sound}")

    def judge(self, mutant: Mutant) -> Verdict:
        """Break the kernel so and ask the suites."""
        source = self.kernel / "src" / mutant.file
        text = source.read_text()
        is_header = source.suffix == ".h"
        affected = sorted(source.parent.glob("*.c")) if is_header else [source]
        broken = self.folder / "broken"
        source.write_text(mutated(mutant, text))
        try:
            self._compile(affected, broken)
            self._link()
            if is_header:
                self._build_programs(broken)
            return self._ask(mutant, broken if is_header else self.folder / "sound")
        finally:
            source.write_text(text)
            for path in broken.iterdir():
                path.unlink()

    # Building

    def _gcc(self, arguments: Sequence[str | Path]) -> None:
        call(["gcc", *FLAGS, "-O1", "-fPIC", f"-I{self.kernel / 'include'}", *arguments])

    def _compile(self, sources: Sequence[Path], folder: Path) -> None:
        def compile_one(source: Path) -> None:
            self._gcc(["-c", source, "-o", folder / f"{source.stem}.o"])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, sources))

    def _link(self) -> None:
        """Make the library of the sound objects, but broken ones where there are any."""
        objects = {path.name: path for path in (self.folder / "sound").glob("*.o")}
        objects |= {path.name: path for path in (self.folder / "broken").glob("*.o")}
        # A process that still runs keeps the old file.
        fresh = self.folder / "lib" / "fresh.so"
        self._gcc(["-shared", *sorted(objects.values()), "-o", fresh])
        fresh.replace(self.folder / "lib" / LIBRARY)

    def _build_programs(self, folder: Path) -> None:
        for name in ("golden", *PROGRAMS):
            source = self.kernel / "tests" / f"{name}.c"
            library = [f"-L{self.folder / 'lib'}", "-lflow_kernel"]
            self._gcc([source, *library, "-o", folder / name])

    def _build_extension(self, cargo_target: Path) -> None:
        workspace = self.folder / "rust"
        shutil.copytree(
            ROOT / "crates", workspace / "crates", ignore=shutil.ignore_patterns("python")
        )
        for name in ("Cargo.toml", "Cargo.lock"):
            shutil.copy(ROOT / name, workspace)
        (workspace / "crates/flowtape-sys/build.rs").write_text(BUILD_RS)
        variables = {
            "FLOW_KERNEL_DIR": str(self.folder / "lib"),
            "CARGO_TARGET_DIR": str(cargo_target),
            "PYO3_PYTHON": sys.executable,
            "PYO3_BUILD_EXTENSION_MODULE": "1",
        }
        built = subprocess.run(
            ["cargo", "build", "--quiet", "-p", "flowtape-py"],
            cwd=workspace,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if built.returncode != 0:
            raise BuildError(built.stderr)
        package = self.folder / "package" / "flowtape"
        package.mkdir(parents=True)
        for path in (ROOT / "crates/flowtape-py/python/flowtape").iterdir():
            if not path.name.startswith("_kernel") and path.name != "__pycache__":
                (package / path.name).symlink_to(path.resolve())
        shutil.copy(cargo_target / "debug/lib_kernel.so", package / "_kernel.abi3.so")

    # Asking

    def _run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str] | None:
        """Run with the library of the moment; nothing when it never ends."""
        variables = {
            "LD_LIBRARY_PATH": str(self.folder / "lib"),
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_PROFILE": "fast",
        }
        try:
            return subprocess.run(
                [str(part) for part in command],
                cwd=ROOT,
                env=os.environ | variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return None

    def _digests(self, programs: Path) -> str:
        ran = self._run([programs / "golden"])
        return ran.stdout if ran else "never ended"

    def _failing_program(self, programs: Path) -> str:
        for name in PROGRAMS:
            ran = self._run([programs / name, *QUICK_ARGUMENTS.get(name, ())])
            if ran is None or ran.returncode != 0:
                return name
        return ""

    def _failing_test(self, paths: Sequence[str]) -> str:
        """The first Python test that fails with the library of the moment, or nothing."""
        options = ["-q", "-x", "--tb=no", "--no-header", "--timeout=100", "--hypothesis-seed=0"]
        plugins = ["-p", "no_shrink", "-p", "no:cacheprovider", "-m", "not deep"]
        imports = ["-o", f"pythonpath={self.folder / 'package'} ."]
        command = [sys.executable, "-m", "pytest", *options, *plugins, *imports, *paths]
        ran = self._run(command)
        if ran is None:
            return "(never ends)"
        if ran.returncode < 0:
            return "(crashes)"
        if ran.returncode == 0:
            return ""
        found = re.search(r"^FAILED \S*/(test_\w+)\.py::(\S+)", ran.stdout, re.MULTILINE)
        if ran.returncode != 1 or found is None:
            raise BuildError(ran.stdout + ran.stderr)
        return f"{found[1]}::{found[2].partition('[')[0]}"

    def _ask(self, mutant: Mutant, programs: Path) -> Verdict:
        """One suite after the other, until there is a reason."""
        digests = "" if self._digests(programs) == self.said else "changed"
        rule = self._failing_test(RULES)
        c_program = "-" if rule else self._failing_program(programs)
        model = "-" if rule or c_program else self._failing_test(MODELS)
        return Verdict(mutant, digests, rule, c_program, model)


HEADER = """# What notices a mistake in the kernel

Each mutant of table.py is one mistake in kernel/src. The columns name what notices it: the digests
of kernel/tests/golden.c, which see only that something changed; the first hand-worked rule; where
no rule does, the first program of kernel/tests; and where none of them does, the first test beside
a reference model. Written by `python -m tests.kernel.mutants.lab --write`.

"""


def row_of(v: Verdict) -> str:
    return (
        f"| {v.mutant.name} | {v.mutant.file} | {v.mutant.breaks} | {v.digests} | {v.rule} "
        f"| {v.c_program} | {v.model} |"
    )


def rows_kept() -> dict[str, str]:
    """The rows of RESULTS.md by the mutant's name."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found = [(ROW.match(line), line) for line in lines]
    return {match[1]: line for match, line in found if match}


def table_of(rows: Sequence[str]) -> str:
    """The text of RESULTS.md."""
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    by_reason = sum(any(cell not in {"", "-"} for cell in row[4:]) for row in cells)
    by_digests = sum(bool(row[3]) for row in cells)
    lines = [
        f"Of {len(rows)} mutants a reasoned test notices {by_reason}, digests {by_digests}.",
        "",
        "| mutant | file | breaks | digests | rule | C program | model |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    return HEADER + "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Judge the mutants named, or all of them; with --write also write them to RESULTS.md."""
    names = [name for name in arguments if name != "--write"]
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    folder = ROOT / "target" / f"mutants-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        lab = Lab(folder, ROOT / "target" / "mutants")
        verdicts = []
        for mutant in chosen:
            verdicts.append(lab.judge(mutant))
            sys.stdout.write(f"{row_of(verdicts[-1])}\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)
    if "--write" in arguments:
        rows = rows_kept() | {verdict.mutant.name: row_of(verdict) for verdict in verdicts}
        RESULTS.write_text(table_of([rows[m.name] for m in MUTANTS if m.name in rows]))
    return 0 if all(verdict.reason for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
