"""`_kernel.pyi` says what the binary has."""

import subprocess
import sys


def test_stub_agrees_with_the_binary() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "flowtape._kernel"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert result.returncode == 0, result.stdout + result.stderr
