"""Options of each method by arithmetic, so that the tables of all fields keep a budget of bits and vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
import torch

from slimtable.embeddings.base import MethodConfig, create
from slimtable.embeddings.quantizer_config import QuantizerConfig
from slimtable.errors import BudgetError
from slimtable.methods.double_hash import DoubleHashConfig
from slimtable.methods.dpq import DPQConfig
from slimtable.methods.full import FullConfig
from slimtable.methods.mgqe import MGQEConfig
from slimtable.methods.qr import QRConfig
from slimtable.methods.saec import SaecConfig
from slimtable.methods.shared import SharedConfig
from slimtable.methods.uniform import UniformConfig
from slimtable.models.ctr import get_ctr_model
from slimtable.training.field_allocation import allocate
from studies.saec.experiments import EMBEDDING_DIM, FEWER, Entry, Panel

Configs = dict[str, MethodConfig]

SMALL = 100
"""Fields with fewer values stay uncompressed where a method would only make them larger, or nothing is gained."""
_PART_OF_SMALL = 0.25
_TRIES, _SPAN = 8, 24  # budgets that are tried, between so many times less and the most
_HALF = 0.5


@dataclass(frozen=True, eq=False)
class Fields:
    """What a plan goes by.

    Attributes:
        sizes: number of ids by field.
        width: of the tables.
        bits: budget of all tables together; infinite for none.
        counts: by field, how often each id occurs.
        tables: by field, the trained vectors; empty where nothing is trained yet.
        sensitivity: by field, what errors cost; empty where all directions cost the same.
    """

    sizes: Mapping[str, int]
    width: int
    bits: float
    counts: Mapping[str, np.ndarray]
    tables: Mapping[str, np.ndarray]
    sensitivity: Mapping[str, np.ndarray]

    @cached_property
    def large(self) -> list[str]:
        """Fields that are not small: those that stay uncompressed take a part of the budget only."""
        small, left = set(), self.bits * _PART_OF_SMALL
        for field, size in sorted(self.sizes.items(), key=lambda item: item[1]):
            left -= 32 * size * self.width
            if size < SMALL and left >= 0:
                small.add(field)
        return [field for field in self.sizes if field not in small]

    def most_vectors(self) -> float:
        """Vectors that there may be."""
        return sum(self.sizes.values()) / FEWER

    def bits_of(self, configs: Mapping[str, MethodConfig]) -> int:
        """Bits of all tables, by arithmetic."""
        return sum(self.bits_of_field(field, config) for field, config in configs.items())

    def bits_of_field(self, field: str, config: MethodConfig) -> int:
        """Bits of the table of a field; tiers are flagged as if no ids were sorted, so that it is never more."""
        size = self.sizes[field]
        if isinstance(config, SharedConfig):  # arithmetic says the most that it may be
            return create(config, size, self.width, frequencies=torch.from_numpy(np.asarray(self.counts[field]))).bits()
        counts = np.arange(size) if isinstance(config, QuantizerConfig) else np.asarray(self.counts[field])
        return config.table_bits(size, self.width, torch.from_numpy(counts))

    def vectors_of(self, configs: Mapping[str, MethodConfig]) -> int:
        """Vectors of all tables of plans that share rows."""
        return sum(
            rows if isinstance(rows := getattr(config, "num_rows", None), int) else self.sizes[field]
            for field, config in configs.items()
        )


def find_plan(entry: Entry, fields: Fields) -> Configs:
    """The configuration of every field; PyTorch's generator is left as it was.

    Raises:
        BudgetError: nothing fits into the budget.
    """
    with torch.random.fork_rng(devices=[]):
        return _PLANS[entry.plan](entry, fields)


def full_width(panel: Panel) -> int:
    """Columns of the uncompressed tables."""
    return get_ctr_model(panel.model_name).width(EMBEDDING_DIM)


def widest(entry: Entry, panel: Panel, tested: Sequence[Mapping[str, int]]) -> int:
    """The widest vectors whose quantized tables keep the budget whenever something is tested; 1 at least.

    Args:
        entry: the row.
        panel: the log and model.
        tested: number of ids by field, each time.
    """
    config = UniformConfig(bits=int(entry.options["bits"]))

    def fits(embedding_dim: int) -> bool:
        width = get_ctr_model(panel.model_name).width(embedding_dim)
        return all(
            sum(config.table_bits(size, width) for size in sizes.values()) <= budget_of(entry, sizes, full_width(panel))
            for sizes in tested
        )

    return max((dim for dim in range(1, EMBEDDING_DIM + 1) if fits(dim)), default=1)


def budget_of(entry: Entry, sizes: Mapping[str, int], full_width: int) -> float:
    """Bits that the tables of a row may have, among all values known."""
    return 32 * sum(sizes.values()) * full_width / entry.ratio if entry.ratio else float("inf")


def _saec(entry: Entry, fields: Fields) -> Configs:
    """The most rows, by allocation, that keep the bits and, where that can be, the number of vectors too."""
    options = dict(entry.options)
    small_bits, alpha = options.pop("small_bits", None), options.pop("alpha", None)
    fewer = bool(options.pop("fewer", True))
    rule: Literal["gain", "power"] = "gain" if alpha is None else "power"
    shared = fields.large if int(options["levels"]) > 1 else list(fields.sizes)  # sums say little of a few values
    whole: Configs = {field: FullConfig() for field in fields.sizes if field not in shared}
    config = SaecConfig.from_dict(options)

    def at(bits: float) -> Configs:
        chosen = whole | allocate(
            {field: fields.tables[field] for field in shared},
            {field: fields.counts[field] for field in shared},
            bits,
            config,
            rule=rule,
            alpha=alpha or 0.0,
            sensitivity={field: fields.sensitivity[field] for field in shared} if fields.sensitivity else None,
        )
        if small_bits is None:
            return {field: chosen[field] for field in fields.sizes}
        scaled = UniformConfig(bits=small_bits, axis="row", scale_bits=16)
        return {
            field: scaled if isinstance(own, FullConfig) else own for field in fields.sizes if (own := chosen[field])
        }

    def fits_both(configs: Configs) -> bool:
        return fields.bits_of(configs) <= fields.bits and fields.vectors_of(configs) <= fields.most_vectors()

    def fits(configs: Configs) -> bool:
        return fields.bits_of(configs) <= fields.bits

    # Small fields that end in fewer bits than they were given leave the others more, hence the half above.
    found = _largest(at, fits_both, 1.5 * fields.bits) if fewer else None
    found = found or _largest(at, fits, 1.5 * fields.bits)
    if found is None:
        raise BudgetError(f"{fields.bits / 8:,.0f} bytes do not pay for a row and a map of each field.")
    return found


def _largest(at: Callable[[float], Configs], fits: Callable[[Configs], bool], high: float) -> Configs | None:
    """The configurations of the largest budget, nearly, that fit; None where none does."""
    low, best = high / _SPAN, None
    for _ in range(_TRIES):
        middle = (low * high) ** 0.5
        try:
            configs = at(middle)
        except BudgetError:
            low = middle
            continue
        if fits(configs):
            low, best = middle, configs
        else:
            high = middle
    return best


def _uniform(entry: Entry, fields: Fields) -> Configs:
    return dict.fromkeys(fields.sizes, UniformConfig(bits=int(entry.options["bits"])))


def _by_share(fields: Fields, config: Callable[[str, float], MethodConfig]) -> Configs:
    """The same share of rows for every large field, the largest that the budget pays for; small ones stay full."""
    fixed: Configs = {field: FullConfig() for field in fields.sizes if field not in fields.large}
    low, high, best = 1e-5, 0.5, None
    for _ in range(2 * _TRIES):
        middle = (low + high) / 2
        configs = fixed | {field: config(field, middle) for field in fields.large}
        if fields.bits_of(configs) <= fields.bits:
            low, best = middle, configs
        else:
            high = middle
    if best is None:
        raise BudgetError(f"{fields.bits / 8:,.0f} bytes do not pay for a row of each field.")
    return {field: best[field] for field in fields.sizes}


def _shared_by(config: Callable[[int, float], MethodConfig]) -> Plan:
    """A plan of a method that shares rows, from the number of ids and the share of rows."""
    return lambda entry, fields: _by_share(fields, lambda field, share: config(fields.sizes[field], share))


def _quantized(fields: Fields, options: Sequence[MethodConfig]) -> Configs:
    """For every large field, in proportion to its size, what uses most of its part of the budget."""
    chosen: Configs = {field: FullConfig() for field in fields.sizes if field not in fields.large}
    left = fields.bits - fields.bits_of(chosen)
    dense = {field: 32 * fields.sizes[field] * fields.width for field in fields.large}
    waiting = sum(dense.values())
    for field in sorted(fields.large, key=lambda name: fields.sizes[name]):  # so that what is left goes to the largest
        part = left * dense[field] / waiting
        fitting = [(fields.bits_of_field(field, config), config) for config in options]
        fitting = [(bits, config) for bits, config in fitting if bits <= part]
        if not fitting:  # one codebook of whole vectors, which is k-means, as a last resort
            whole = [DPQConfig(num_codebooks=1, codebook_size=1 << power, codebook_bits=16) for power in range(1, 9)]
            fitting = [(bits, one) for one in whole if (bits := fields.bits_of_field(field, one)) <= part]
        if not fitting:
            raise BudgetError(f"{part / 8:,.0f} bytes do not pay for codes of field {field}.")
        bits, chosen[field] = max(fitting, key=lambda one: one[0])
        left, waiting = left - bits, waiting - dense[field]
    return {field: chosen[field] for field in fields.sizes}


def _divisors(width: int) -> list[int]:
    return [count for count in range(2, width + 1) if width % count == 0]


def _pq(entry: Entry, fields: Fields) -> Configs:
    found = product(_divisors(fields.width), range(1, 9))
    return _quantized(
        fields,
        [DPQConfig(num_codebooks=codebooks, codebook_size=1 << power, codebook_bits=16) for codebooks, power in found],
    )


def _mgqe(entry: Entry, fields: Fields) -> Configs:
    found = product(_divisors(fields.width), range(1, 8), (1, 2), ((0.1, 0.9), (0.05, 0.95)))
    options = [
        MGQEConfig(
            codebook_sizes=(1 << (power + more), 1 << power),
            tier_fractions=shares,
            num_codebooks=codebooks,
            codebook_bits=16,
        )
        for codebooks, power, more, shares in found
    ]
    return _quantized(fields, options)


Plan = Callable[[Entry, Fields], Configs]
_PLANS: dict[str, Plan] = {
    "saec": _saec,
    "uniform": _uniform,
    "hashing": _shared_by(lambda _, share: SharedConfig(rows=f"{100 * share:.6f}%")),
    "head": _shared_by(lambda _, share: SharedConfig(rows=f"{100 * share:.6f}%", head=_HALF)),
    "double": _shared_by(lambda size, share: DoubleHashConfig(num_rows=max(1, int(share * size)))),
    "qr": _shared_by(lambda _, share: QRConfig(rows=f"{100 * share:.6f}%")),
    "pq": _pq,
    "mgqe": _mgqe,
}
