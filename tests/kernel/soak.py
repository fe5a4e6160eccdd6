"""Random scripts, damaged states and the model beside the kernel, with new seeds for long.

`python -m tests.kernel.soak MINUTES` goes on in rounds until the time is over, and ends with 1 at
the first failure, with the command that repeats it. Its programs are in target/soak.
"""

import itertools
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.kernel.c_builds import ROOT, SANITIZED, WRAPPED, Builds

FUZZ = ("-n", "1000000000", "-t", "20")
STATES = "3"


def checks(builds: Builds) -> Callable[[str], list[list[str]]]:
    """What makes the commands of one round out of its seed."""
    wrapped = (*SANITIZED, WRAPPED)
    alone = "-DFUZZ_STANDALONE"
    sound = builds.program("gcc", SANITIZED, "fuzz_kernel", (alone,))
    damaged = builds.program("gcc", wrapped, "fuzz_kernel", ("-DFUZZ_DAMAGE", alone))
    states = builds.program("gcc", wrapped, "test_damaged_states")
    pytest = [sys.executable, "-m", "pytest", "-q", "--timeout=1800", "-m", "hypothesis"]
    return lambda seed: [
        [str(sound), "-s", seed, *FUZZ],
        [str(damaged), "-s", seed, *FUZZ],
        [str(states), seed, STATES],
        [*pytest, f"--hypothesis-seed={seed}", "tests/kernel"],
    ]


def main(arguments: Sequence[str]) -> int:
    """Soak for so many minutes."""
    end_s = time.monotonic() + 60 * float(arguments[0])
    folder = ROOT / "target" / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    commands_of = checks(Builds(folder))
    for round_number in itertools.count(1):
        for command in commands_of(str(secrets.randbelow(10**12))):
            if time.monotonic() > end_s:
                sys.stdout.write(f"soaked: no failure, round {round_number}\n")
                return 0
            sys.stdout.write(f"{shlex.join(command)}\n")
            sys.stdout.flush()
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                sys.stdout.write(f"{ran.stdout}{ran.stderr}\nfailed: {shlex.join(command)}\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
