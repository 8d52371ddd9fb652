"""Compress tables that are already trained: inside a model, or in files, by a method or within a budget."""

from slimtable.compress.fine_tune import FineTuneConfig, FineTuned, fine_tune
from slimtable.compress.guard import Guard, NeighbourGuard, TaskGuard
from slimtable.compress.in_place import compress_
from slimtable.compress.inputs import guard_of, make_inputs
from slimtable.compress.one_table import compress_table
from slimtable.compress.plans import Input
from slimtable.compress.result import Candidate, Choice, Compressed, GuardFacts, Kept
from slimtable.compress.together import compress_tables
from slimtable.tables.opening import read_table

__all__ = [
    "Candidate",
    "Choice",
    "Compressed",
    "FineTuneConfig",
    "FineTuned",
    "Guard",
    "GuardFacts",
    "Input",
    "Kept",
    "NeighbourGuard",
    "TaskGuard",
    "compress_",
    "compress_table",
    "compress_tables",
    "fine_tune",
    "guard_of",
    "make_inputs",
    "read_table",
]
