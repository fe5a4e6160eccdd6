"""`flowtape replay --speed max --no-dashboard`, as a person runs it, on a tape of 50 M trades."""

import json
import statistics
import subprocess
import sys

from benchmarks import data

TRADES = 50_000_000
REPEATS = 3


def run(*options: str) -> float:
    """M trades/s that the command reports, opening the tape not included."""
    found = data.tape(TRADES)
    folder = found.parts[0].path.parents[1]
    command = [
        sys.executable, "-m", "flowtape.cli.main", "replay", str(folder), "--speed", "max",
        "--no-dashboard", "--json", *options,
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert result["trade_count"] == TRADES
    return TRADES / float(result["wall_s"]) / 1e6


def main() -> None:
    cached = statistics.median(run() for _ in range(REPEATS))
    parquet = statistics.median(run("--no-cache") for _ in range(REPEATS))
    print(f"replay from the mapped cache     {cached:8.1f} M trades/s  (bar: 60)")
    print(f"replay from Parquet              {parquet:8.1f} M trades/s  (bar: 25)")


if __name__ == "__main__":
    main()
