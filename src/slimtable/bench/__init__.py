"""A grid of methods and seeds: trained, tested and reported as quality against size."""

from slimtable.bench.labels import label_of, parse_methods
from slimtable.bench.report import BenchResult, console_table, render
from slimtable.bench.results import Record
from slimtable.bench.run import run_bench

__all__ = ["BenchResult", "Record", "console_table", "label_of", "parse_methods", "render", "run_bench"]
