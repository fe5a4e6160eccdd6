"""Import speed of a Binance spot archive file on one core, beside what Polars needs to read it.

    .venv/bin/python benchmarks/import_archive.py --rows 5000000

Each measurement is a process of its own, held to one CPU; rows per second are by CPU time and by
the wall, and the peak of resident memory is of the whole process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.importer import import_files
from flowtape.replay.tapes import TapeStore


def write_archive(path: Path, rows: int) -> None:
    """Write a spot archive file: 8 columns, no header, 8 decimals, microseconds."""
    booleans = pa.array(["False", "True"])
    names = ["id", "price", "qty", "first", "last", "time", "maker", "best"]
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        for trades in generate(GeneratorConfig.preset("fine"), seed=1, trades_count=rows):
            columns = [
                pa.array(trades.agg_id),
                _decimals(trades.price_ticks, 2),
                _decimals(trades.qty_lots, 5),
                pa.array(trades.first_id),
                pa.array(trades.last_id),
                pa.array(trades.ts_us),
                booleans.take(pa.array((trades.side < 0).astype("int8"))),
                booleans.take(pa.array((trades.side * 0 + 1).astype("int8"))),
            ]
            pa_csv.write_csv(pa.table(columns, names=names), file, options)


def _decimals(units: NDArray[np.int64], decimals: int) -> pa.Array:
    whole = pa.array(units).cast(pa.decimal128(19, 0))
    scaled = pa.Array.from_buffers(pa.decimal128(19, decimals), len(whole), whole.buffers())
    return scaled.cast(pa.decimal128(28, 8))


def run_import(source: Path, work: Path) -> int:
    """Import the file into a new tape; return its rows."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    result = import_files(TapeStore(work / "tapes"), [source], "BENCHUSDT", "spot")
    return result.files[0].row_count


def run_polars_read(source: Path, _: Path) -> int:
    """Only read the file, prices as floats."""
    return len(polars.read_csv(source, has_header=False))


def run_polars_convert(source: Path, work: Path) -> int:
    """Read the file and write it as Parquet, prices as floats, nothing checked."""
    frame = polars.read_csv(source, has_header=False)
    frame.write_parquet(work / "polars.parquet", compression="zstd", compression_level=3)
    return len(frame)


CASES = {
    "flowtape import": run_import,
    "polars read_csv": run_polars_read,
    "polars read_csv + write_parquet": run_polars_convert,
}


def measure(case: str, source: Path) -> dict[str, float]:
    """Run one case in this process."""
    with tempfile.TemporaryDirectory(dir=source.parent) as work:
        wall, cpu = time.perf_counter(), time.process_time()
        rows = CASES[case](source, Path(work))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": rows,
        "mrows_per_cpu_s": rows / cpu / 1e6,
        "mrows_per_s": rows / wall / 1e6,
        "peak_rss_mb": peak / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help="use this file instead of a generated one")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.source)))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = options.source or Path(folder) / "BENCHUSDT-aggTrades.csv"
        if options.source is None:
            write_archive(source, options.rows)
        results = {case: _best(case, source, options.repeat) for case in CASES}
        size_mb = source.stat().st_size / 1e6
    if options.json:
        print(json.dumps(results))
        return
    reference = results["polars read_csv"]["mrows_per_cpu_s"]
    print(f"{source.name}: {size_mb:,.0f} MB, one core, best of {options.repeat}")
    for case, found in results.items():
        print(
            f"{case:32s} {found['mrows_per_cpu_s']:6.2f} M rows/CPU-s"
            f" {found['mrows_per_s']:6.2f} M rows/s {found['peak_rss_mb']:7,.0f} MB peak"
            f"   {found['mrows_per_cpu_s'] / reference:5.2f} x polars read_csv"
        )


def _best(case: str, source: Path, repeat: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", case, "--source", str(source)]
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    # Children inherit it, and so do all threads that they start.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found = []
    for _ in range(repeat):
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout))
    return max(found, key=lambda result: result["mrows_per_cpu_s"])


if __name__ == "__main__":
    main()
