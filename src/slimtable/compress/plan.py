"""Plans: the exact bytes of every method in every size, from the shapes of tables alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any

from slimtable.budget import bits_of_budget
from slimtable.compress.result import Candidate, Choice
from slimtable.embeddings.base import MethodConfig, get_config, method_names
from slimtable.embeddings.fitting import fit_budget
from slimtable.errors import BudgetError

BUDGETS = ("2x", "3x", "4x", "6x", "8x", "12x", "16x", "24x", "32x", "48x", "64x")
"""Sizes that are planned for methods with too many sizes to list all."""

ALL_SIZES = 16
"""A method with at most this many sizes is planned in all of them."""

Shape = tuple[int, int]

_TITLED = 4  # tables that a title names

ID_MAPS: Mapping[str, float] = MappingProxyType(
    {
        "raw ids in the file, 64-bit integers": 8.0,
        "hash table from 64-bit ids to 32-bit rows, 80 % full": 15.0,
        "array of a 32-bit row for each id, ids numbered without gaps": 4.0,
        "minimal perfect hash, with fingerprints of 8 bits": 11 / 8,
    }
)
"""Ways to find the row of a raw id, and their bytes per id."""


@dataclass(frozen=True)
class Plan:
    """Every way to compress tables.

    Attributes:
        shapes: number of ids and width of each table, by its name.
        candidates: every method in every planned size, by method and from large to small.
        left_out: methods that cannot be planned, and why.
    """

    shapes: Mapping[str, Shape]
    candidates: tuple[Candidate, ...]
    left_out: Mapping[str, str]

    @property
    def num_values(self) -> int:
        """Number of values in all tables."""
        return sum(num * dim for num, dim in self.shapes.values())

    @property
    def dense_bytes(self) -> int:
        """Bytes of all tables in float32."""
        return 4 * self.num_values

    def title(self) -> str:
        """The tables and their shapes as a text; only their number and ids if there are many."""
        if len(self.shapes) > _TITLED:
            return f"{len(self.shapes)} tables of {sum(num for num, _ in self.shapes.values()):,} ids together"
        return ", ".join(f"{name} {num:,} × {dim}" for name, (num, dim) in self.shapes.items())

    def ratio(self, candidate: Candidate) -> float:
        """How many times smaller than float32 a candidate is."""
        return self.dense_bytes / candidate.bytes

    def bits_per_value(self, candidate: Candidate) -> float:
        """Bits of a candidate for each value: each dimension of each id."""
        return 8 * candidate.bytes / self.num_values

    def id_maps(self) -> dict[str, int]:
        """Bytes of each way to find the rows of raw ids, for all tables; see :data:`ID_MAPS`."""
        ids = sum(num for num, _ in self.shapes.values())
        return {name: round(each * ids) for name, each in ID_MAPS.items()}

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "tables": {name: {"num_embeddings": num, "embedding_dim": dim} for name, (num, dim) in self.shapes.items()},
            "float32_bytes": self.dense_bytes,
            "candidates": [
                {
                    "method": method_of_candidate(candidate),
                    "tables": {name: choice.to_dict() for name, choice in candidate.tables.items()},
                    "bytes": candidate.bytes,
                    "compression_ratio": self.ratio(candidate),
                    "size_percent": 100 * candidate.bytes / self.dense_bytes,
                    "bits_per_dimension": self.bits_per_value(candidate),
                }
                for candidate in self.candidates
            ],
            "left_out": dict(self.left_out),
            "id_map_bytes": self.id_maps(),
        }


def make_plan(
    shapes: Mapping[str, Shape],
    methods: Sequence[str] | None = None,
    budget: str | None = None,
    frequencies: Mapping[str, Any] | None = None,
) -> Plan:
    """Plans the compression of tables; nothing is allocated or read.

    Args:
        shapes: number of ids and width of each table, by its name.
        methods: methods to plan; None for all that can compress a trained table block by block.
        budget: plan only the largest tables within it, such as "16x", "10%" or "200MB" for all tables together; None
            for all sizes of methods with few of them, and :data:`BUDGETS` for the others.
        frequencies: (N,) how often the ids of a table occur, by its name; sizes of tiers may depend on it.

    Returns:
        The plan.

    Raises:
        ValueError: there is no table or no such method, a shape is not positive, or the budget cannot be parsed.

    Example:
        >>> plan = make_plan({"item": (1_000_000, 64)}, methods=["uniform"], budget="8x")
        >>> plan.candidates[0].bytes, round(plan.ratio(plan.candidates[0]), 3)
        (24000512, 10.666)
    """
    if not shapes:
        raise ValueError("A plan needs at least one table.")
    for name, (num, dim) in shapes.items():
        if num < 1 or dim < 1:
            raise ValueError(f"Table {name} needs at least one row and one column, got {num} × {dim}.")
    wanted = 1.0
    if budget is not None:
        dense_bits = 32 * sum(num * dim for num, dim in shapes.values())
        wanted = bits_of_budget(budget, dense_bits) / dense_bits
    candidates: list[Candidate] = []
    left_out: dict[str, str] = {}
    for method in method_names() if methods is None else methods:
        try:
            config = _config_of(method, shapes)
            found = list(_sizes_of(config, method, shapes, None if budget is None else wanted, frequencies or {}))
        except (ValueError, BudgetError) as error:
            if methods is not None and not isinstance(error, _NotPlannedError | BudgetError):
                raise
            left_out[method] = str(error)
            continue
        if not found:
            left_out[method] = "its smallest table is larger than the budget"
        candidates += found
    return Plan(dict(shapes), tuple(candidates), left_out)


def method_of_candidate(candidate: Candidate) -> str:
    """The method of a candidate; those of its tables, joined, if they differ."""
    return " + ".join(dict.fromkeys(choice.method for choice in candidate.tables.values()))


def options_text(choice: Choice) -> str:
    """The options of a choice as a text, such as "bits=4, axis=row"; empty for the defaults."""
    return ", ".join(f"{name}={value}" for name, value in choice.config.items())


class _NotPlannedError(ValueError):
    """A method has no size that shapes determine."""


def _config_of(method: str, shapes: Mapping[str, Shape]) -> MethodConfig:
    """The default configuration of a method, once it is known to compress trained tables block by block."""
    config = get_config(method)
    if hasattr(config, "candidates"):  # a policy, whose choices are planned as the methods that they are
        raise _NotPlannedError("it chooses among the others")
    if type(config).codec is MethodConfig.codec:
        raise _NotPlannedError("it only trains, or compresses through its module")
    for num, dim in shapes.values():
        if config.sizes(num, dim)[0].codec(num, dim) is None:
            raise _NotPlannedError("it only trains, or compresses through its module")
    return config


def _sizes_of(
    config: MethodConfig,
    method: str,
    shapes: Mapping[str, Shape],
    share: float | None,
    frequencies: Mapping[str, Any],
) -> Iterator[Candidate]:
    """The candidates of a method, from large to small, without repetitions."""
    sizes = {name: config.sizes(*shape) for name, shape in shapes.items()}
    few = [list(islice(each, ALL_SIZES + 1)) for each in sizes.values()]
    seen: set[tuple[MethodConfig, ...]] = set()
    if share is None and len(few[0]) <= ALL_SIZES and all(each == few[0] for each in few):
        rows = [tuple([each] * len(shapes)) for each in reversed(few[0])]
    else:
        shares = [share] if share is not None else [1 / float(budget[:-1]) for budget in BUDGETS]
        rows = [row for each in shares if (row := _fitted(config, shapes, each, frequencies)) is not None]
    for row in rows:
        if row in seen:
            continue
        seen.add(row)
        choices = {
            name: Choice(method, each.non_defaults(), each.table_bits(*shape, frequencies.get(name)))
            for (name, shape), each in zip(shapes.items(), row, strict=True)
        }
        yield Candidate(choices, sum(-(-choice.bits // 8) for choice in choices.values()))


def _fitted(
    config: MethodConfig, shapes: Mapping[str, Shape], share: float, frequencies: Mapping[str, Any]
) -> tuple[MethodConfig, ...] | None:
    """The largest configuration of each table within a share of its float32 bits; None if a table has none."""
    try:
        return tuple(
            fit_budget(config, share * 32 * num * dim, num, dim, frequencies.get(name))
            for name, (num, dim) in shapes.items()
        )
    except BudgetError:
        return None
