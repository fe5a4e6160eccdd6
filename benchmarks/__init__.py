"""Measurements behind `benchmarks/README.md`; every comparison is on one thread."""

import os

os.environ["POLARS_MAX_THREADS"] = "1"
