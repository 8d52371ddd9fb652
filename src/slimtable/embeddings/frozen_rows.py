"""Rows of packed tables by PyTorch operations, one function per layout; kernels for the CPU are in ``artifact``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from slimtable.artifact.bits import code_bits
from slimtable.artifact.log_scales import NUM_CODES
from slimtable.artifact.rotation import scaled_signs
from slimtable.artifact.scaled import zero_points
from slimtable.artifact.shared import PRIME

_ROWS_AT_ONCE = 4096


class PackedRows(Protocol):
    """What rows are made of: the arrays of a table."""

    embedding_dim: int

    @property
    def layout_config(self) -> Mapping[str, Any]:
        """Config of the layout."""

    def array(self, name: str) -> Tensor:
        """An array with its own type and shape."""

    def codes(self, name: str, index: Tensor, width: int) -> Tensor:
        """The codes at positions ``index`` of a bit stream, int64 of the same shape."""

    def directory(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What ``make`` gives for a bit stream, made again only when the stream changes."""

    def has(self, name: str) -> bool:
        """Whether there is such an array."""


class _Part:
    """A part of a table of the layout ``tiered``, as a table of its own."""

    def __init__(self, table: PackedRows, number: int) -> None:
        self._table, self._prefix = table, f"part.{number}."
        self.embedding_dim = table.embedding_dim
        self.layout_config: Mapping[str, Any] = table.layout_config["parts"][number]["layout_config"]

    def array(self, name: str) -> Tensor:
        return self._table.array(self._prefix + name)

    def codes(self, name: str, index: Tensor, width: int) -> Tensor:
        return self._table.codes(self._prefix + name, index, width)

    def directory(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return self._table.directory(self._prefix + name, make)

    def has(self, name: str) -> bool:
        return self._table.has(self._prefix + name)


def _dense(table: PackedRows, ids: Tensor) -> Tensor:
    return table.array("table")[ids].float()


def _low_rank(table: PackedRows, ids: Tensor) -> Tensor:
    return table.array("left")[ids].float() @ table.array("right").float()


def _scaled(table: PackedRows, ids: Tensor) -> Tensor:
    column = torch.arange(table.embedding_dim, device=ids.device)
    bits = table.layout_config["bits"]
    codes = table.codes("codes", ids.unsqueeze(1) * table.embedding_dim + column, bits)
    if "scale_bits" in table.layout_config:
        points = torch.from_numpy(zero_points(bits)).to(ids.device)
        steps = _scales(table, "step_range")[table.array("step")[ids].long()].unsqueeze(1)
        return steps * (codes - points[table.array("zero")[ids].long()].unsqueeze(1))
    lines = slice(None) if table.layout_config["axis"] == "column" else ids.unsqueeze(1)
    return table.array("offset")[lines].float() + table.array("step")[lines].float() * codes


def _shared(table: PackedRows, ids: Tensor) -> Tensor:
    config = table.layout_config
    rows = torch.zeros(len(ids), table.embedding_dim, device=ids.device)
    reached: set[int] = set()
    for index, term in enumerate(config["terms"]):
        shared = config["tables"][term["table"]]
        columns = slice(term["column"], term["column"] + shared["width"])
        weight = term["weight"]
        if weight == "stored":
            weight = table.array(f"weights.{index}")[ids].float().unsqueeze(1)
        numbers = _row_numbers(table, index, term["map"], shared["num_rows"], ids)
        value = weight * _shared_rows(table, term["table"], shared, numbers)
        # The first term of a column is assigned, not added to zeros: -0 stays -0.
        if "multiply" in term:
            value = rows[:, columns] * value
        elif columns.start in reached:
            value = rows[:, columns] + value
        rows[:, columns] = value
        reached.update(range(columns.start, columns.stop))
    return rows.double().tanh().float() if config["activation"] == "tanh" else rows


def _row_numbers(table: PackedRows, index: int, row_map: Any, num_rows: int, ids: Tensor) -> Tensor:
    """The shared row of each id in a term, int64 (B,)."""
    if row_map == "stored":
        return table.codes(f"map.{index}", ids, code_bits(num_rows)).clamp(max=num_rows - 1)
    if "divisor" in row_map:
        quotient: Tensor = ids // row_map["divisor"]
        return quotient
    rows = row_map["first"] + (row_map["a"] * (ids % PRIME) + row_map["b"]) % PRIME % row_map["count"]
    return torch.where(ids < row_map["head"], ids, rows)


def _shared_rows(table: PackedRows, index: int, shared: dict[str, int], numbers: Tensor) -> Tensor:
    """Shared rows by index, float32 (B, w)."""
    if shared["bits"] > 8:
        return table.array(f"rows.{index}")[numbers].float()
    column = torch.arange(shared["width"], device=numbers.device)
    codes = table.codes(f"rows.{index}", numbers.unsqueeze(1) * shared["width"] + column, shared["bits"])
    offset, step = (table.array(f"{name}.{index}")[numbers].float().unsqueeze(1) for name in ("offset", "step"))
    return offset + step * codes


def _coded(table: PackedRows, ids: Tensor) -> Tensor:
    tiers: list[dict[str, int]] = table.layout_config["tiers"]
    tier_of, place_of = _tier_and_place(table, [tier["num_rows"] for tier in tiers], ids)
    rows = torch.zeros(len(ids), table.embedding_dim, device=ids.device)
    for index, tier in enumerate(tiers):
        if tier["num_rows"] == 0:
            continue
        mine = tier_of == index
        subspaces = torch.arange(tier["num_codebooks"], device=ids.device)
        place = torch.where(mine, place_of, 0).unsqueeze(1)
        codes = table.codes(
            f"codes.{index}", place * tier["num_codebooks"] + subspaces, code_bits(tier["codebook_size"])
        )
        codebook = table.array(f"codebook.{tier['codebook']}").expand(tier["num_codebooks"], -1, -1)
        rows = torch.where(mine.unsqueeze(1), codebook[subspaces, codes].flatten(1).float(), rows)
    return rows


def _quantized(table: PackedRows, ids: Tensor) -> Tensor:
    config = table.layout_config
    number, dim = config["num_codebooks"], table.embedding_dim
    subspace = torch.arange(number, device=ids.device)
    codes = table.codes("codes", ids.unsqueeze(1) * number + subspace, code_bits(config["codebook_size"]))
    codes = codes.clamp(max=config["codebook_size"] - 1)  # (B, M)
    codebook = _codebook(table, number)
    if config["combine"] == "concat":
        rows = codebook.expand(number, -1, -1)[subspace, codes].flatten(1)
    else:
        rows = codebook[0, codes[:, 0]]
        for stage in range(1, number):
            rows = rows + codebook[stage, codes[:, stage]]
    if config["gain_bits"]:
        rows = _gains(table, ids).unsqueeze(1) * rows
    rotation = config["rotation"]
    if rotation == "stored":
        rows = rows @ table.array("rotation").float()
    elif rotation is not None:
        rows = _unrotated(rows, torch.from_numpy(scaled_signs(dim, rotation["seed"], rotation["rounds"])))
    return rows + table.array("offset") if config["offset"] else rows


def _codebook(table: PackedRows, number: int) -> Tensor:
    """The codebook of the layout ``quantized``, float32 (books, K, width)."""
    config = table.layout_config
    bits = config["codebook_bits"]
    if bits > 8:
        return table.array("codebook").float()
    scale = table.array("codebook_scale").float()
    if bits == 8:
        values = table.array("codebook").float()
    else:
        width = table.embedding_dim // (1 if config["combine"] == "sum" else number)

        def unpacked() -> tuple[Tensor, ...]:
            places = torch.arange(scale.numel() * width, device=scale.device)
            return (table.codes("codebook", places, bits).reshape(*scale.shape, width).to(torch.uint8),)

        values = table.directory("codebook", unpacked)[0].float()
    return scale.unsqueeze(2) * (values - (1 << bits - 1))


def _gains(table: PackedRows, ids: Tensor) -> Tensor:
    """The gain of each id of the layout ``quantized``, float32 (B,)."""
    bits = table.layout_config["gain_bits"]
    gains = table.array("gain")[ids] if bits >= 8 else table.codes("gain", ids, bits)
    if bits == 16:
        return gains.float()
    return _scales(table, "gain_range")[gains.long()]


def _scales(table: PackedRows, name: str) -> Tensor:
    """The scale of each 8-bit code, float32 (256,)."""
    smallest, ratio = table.array(name).unbind()
    scales = [torch.zeros_like(smallest), smallest]
    for _ in range(NUM_CODES - 2):  # rounded in each step, as in the file's specification
        scales.append(scales[-1] * ratio)
    return torch.stack(scales).float()


def _unrotated(rows: Tensor, signs: Tensor) -> Tensor:
    """Rows (B, d) turned back by the signed transforms (transforms, p) of a seed."""
    size = signs.shape[1]
    for t in reversed(range(len(signs))):
        begin = rows.shape[1] - size if t % 2 else 0
        part = rows[:, begin : begin + size]
        half = size // 2
        while half:
            a, b = part.reshape(len(rows), -1, 2, half).unbind(2)  # (B, size / 2half, half) each
            part = torch.stack((a + b, a - b), 2).reshape(len(rows), size)
            half //= 2
        part = part * signs[t].to(rows.device)
        rows = torch.cat((rows[:, :begin], part, rows[:, begin + size :]), 1)
    return rows


def _sparse(table: PackedRows, ids: Tensor) -> Tensor:
    dim = table.embedding_dim
    column = torch.arange(dim, device=ids.device)

    def bits_of(rows: Tensor) -> Tensor:
        return table.codes("bitmap", rows.unsqueeze(1) * dim + column, 1)

    def firsts() -> tuple[Tensor]:
        every = torch.arange(len(table.array("step")), device=ids.device)
        counts = torch.cat([bits_of(rows).sum(1) for rows in every.split(_ROWS_AT_ONCE)])
        return (counts.cumsum(0) - counts,)

    (first,) = table.directory("bitmap", firsts)
    bits, values = bits_of(ids), table.array("values")
    if not len(values):
        return torch.zeros(len(ids), dim, device=ids.device)
    places = first[ids].unsqueeze(1) + bits.cumsum(1) - bits
    found = values[places.clamp(max=len(values) - 1)].int() - 128
    return torch.where(bits.bool(), table.array("step")[ids].float().unsqueeze(1) * found, 0.0)


def _tiered(table: PackedRows, ids: Tensor) -> Tensor:
    parts = table.layout_config["parts"]
    part_of, place_of = _tier_and_place(table, [part["num_rows"] for part in parts], ids)
    rows = torch.zeros(len(ids), table.embedding_dim, device=ids.device)
    for index, part in enumerate(parts):
        mine = part_of == index
        found = ROWS_OF_LAYOUT[part["layout"]](_Part(table, index), torch.where(mine, place_of, 0))
        rows = torch.where(mine.unsqueeze(1), found, rows)
    return rows


def _tier_and_place(table: PackedRows, counts: list[int], ids: Tensor) -> tuple[Tensor, Tensor]:
    """Tier of each id and its place among the ids of that tier, int64 (B,) each."""
    if not table.has("tiers"):
        numbers = torch.tensor(counts, device=ids.device)
        ends = numbers.cumsum(0)
        tier = torch.searchsorted(ends, ids, right=True)
        return tier, ids - (ends - numbers)[tier]

    def places() -> tuple[Tensor, Tensor]:
        every = torch.arange(sum(counts), device=ids.device)
        flags = table.codes("tiers", every, code_bits(len(counts))).to(torch.uint8)
        ranks = torch.zeros(len(every), dtype=torch.int32, device=ids.device)
        for index in range(len(counts)):
            mine = flags == index
            ranks[mine] = torch.arange(int(mine.sum()), dtype=torch.int32, device=ids.device)
        return flags, ranks

    flags, ranks = table.directory("tiers", places)
    return flags[ids].long(), ranks[ids].long()


ROWS_OF_LAYOUT: dict[str, Callable[[PackedRows, Tensor], Tensor]] = {
    "coded": _coded,
    "dense": _dense,
    "low_rank": _low_rank,
    "quantized": _quantized,
    "scaled": _scaled,
    "shared": _shared,
    "sparse": _sparse,
    "tiered": _tiered,
}
"""(table, int64 ids (B,) in range) -> float32 rows (B, d), by layout."""
