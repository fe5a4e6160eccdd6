"""All measurements, one after the other, each in a process of its own."""

import subprocess
import sys

PARTS = (
    "startup",
    "kernel",
    "orders",
    "scan",
    "decisions",
    "signals",
    "replay_speed",
    "seek",
    "sessions",
    "session_day",
    "session_week",
    "recording",
    "receiving",
    "live_load",
    "repair",
    "venue",
    "import_archive",
    "dashboard",
)


def main() -> None:
    chosen = sys.argv[1:] or PARTS
    for part in chosen:
        print(f"== {part}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{part}"], check=True)


if __name__ == "__main__":
    main()
