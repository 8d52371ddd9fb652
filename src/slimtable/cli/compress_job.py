"""``compress`` of large tables: block by block, straight into the file, in worker processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimtable.cli.table_files import LARGE

if TYPE_CHECKING:
    from slimtable.artifact.packed import Packed
    from slimtable.compress.job import Source, Written
    from slimtable.compress.plans import Input
    from slimtable.embeddings.base import MethodConfig
    from slimtable.embeddings.policy import Policy

_HEADER = 1 << 13  # bytes of the file per table, beside its arrays; there is room for more


def is_large(tables: list[Input]) -> bool:
    """True if tables are compressed by a job."""
    return sum(one.dense_bits for one in tables) >= 8 * LARGE


def best_guesses(tables: list[Input], policy: Policy, budget: str) -> tuple[dict[str, MethodConfig], list[str]]:
    """The configuration of every table that a policy prefers within a budget, and why.

    Candidates are not compared, since that would read the tables again for each. Methods that need a table in memory
    are left out.

    Raises:
        BudgetError: the budget is too small.
    """
    from slimtable.budget import bits_of_budget
    from slimtable.compress.plans import Planner, choice_of

    planner = Planner({one.name: one for one in tables}, policy)
    limit = bits_of_budget(budget, planner.dense_bits) - 8 * _HEADER * len(tables)
    guesses = dict.fromkeys(planner.tables, 0)
    while True:
        plan = planner.plan(limit, guesses=guesses)
        held = [name for name, config in plan.configs.items() if not _streams(planner.tables[name], config)]
        more = [name for name in held if guesses[name] + 1 < planner.guesses(name, plan.bits[name])]
        if not more:
            break
        guesses.update({name: guesses[name] + 1 for name in more})
    choices = [f"{name}: {choice_of(config, plan.bits[name])}" for name, config in plan.configs.items()]
    return dict(plan.configs), [
        f"best guess from shapes within {budget}, not compared with others since the tables are large: "
        + "; ".join(choices)
    ]


def compress_input(one: Input, config: MethodConfig) -> Packed:
    """Compresses a table in memory."""
    from slimtable.compress import compress_table

    return compress_table(one.table, config, padding_idx=one.padding_idx, frequencies=one.frequencies)


def compress_by_job(
    tables: list[Input],
    chosen: Mapping[str, MethodConfig],
    out: Path,
    about: Mapping[str, Any],
    workers: int | None,
    vocabularies: Mapping[str, Any],
) -> Written:
    """Compresses tables into a file; those whose method needs them in memory are compressed first."""
    from slimtable.compress.job import Source, compress_to_file
    from slimtable.embeddings.base import method_of

    sources: dict[str, Source | Packed] = {}
    for one in tables:
        config = chosen[one.name]
        codec = config.codec(*one.rows.shape)
        if codec is None or not codec.streams:
            sources[one.name] = compress_input(one, config)
            continue
        method = method_of(config).method
        sources[one.name] = Source(one.table, codec, one.padding_idx, one.frequencies, method, config.to_dict())
    return compress_to_file(
        sources, out, vocabularies=vocabularies, model=about, workers=workers or _cores(), progress=True
    )


def _streams(one: Input, config: MethodConfig) -> bool:
    codec = config.codec(*one.rows.shape)
    return codec is not None and codec.streams


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
