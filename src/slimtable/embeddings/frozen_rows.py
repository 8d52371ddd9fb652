"""Rows of packed tables by PyTorch operations, one function per layout; kernels for the CPU are in ``artifact``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slimtable.artifact.bits import code_bits
from slimtable.artifact.log_scales import NUM_CODES
from slimtable.artifact.rotation import scaled_signs
from slimtable.artifact.shared import PRIME

if TYPE_CHECKING:
    from slimtable.embeddings.frozen import FrozenEmbedding


def _dense(table: FrozenEmbedding, ids: Tensor) -> Tensor:
    return table.array("table")[ids].float()


def _low_rank(table: FrozenEmbedding, ids: Tensor) -> Tensor:
    return table.array("left")[ids].float() @ table.array("right").float()


def _scaled(table: FrozenEmbedding, ids: Tensor) -> Tensor:
    column = torch.arange(table.embedding_dim, device=ids.device)
    codes = table.codes("codes", ids.unsqueeze(1) * table.embedding_dim + column, table.layout_config["bits"])
    lines = slice(None) if table.layout_config["axis"] == "column" else ids.unsqueeze(1)
    return table.array("offset")[lines].float() + table.array("step")[lines].float() * codes


def _shared(table: FrozenEmbedding, ids: Tensor) -> Tensor:
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


def _row_numbers(table: FrozenEmbedding, index: int, row_map: Any, num_rows: int, ids: Tensor) -> Tensor:
    """The shared row of each id in a term, int64 (B,)."""
    if row_map == "stored":
        return table.codes(f"map.{index}", ids, code_bits(num_rows)).clamp(max=num_rows - 1)
    if "divisor" in row_map:
        quotient: Tensor = ids // row_map["divisor"]
        return quotient
    rows = row_map["first"] + (row_map["a"] * (ids % PRIME) + row_map["b"]) % PRIME % row_map["count"]
    return torch.where(ids < row_map["head"], ids, rows)


def _shared_rows(table: FrozenEmbedding, index: int, shared: dict[str, int], numbers: Tensor) -> Tensor:
    """Shared rows by index, float32 (B, w)."""
    if shared["bits"] > 8:
        return table.array(f"rows.{index}")[numbers].float()
    column = torch.arange(shared["width"], device=numbers.device)
    codes = table.codes(f"rows.{index}", numbers.unsqueeze(1) * shared["width"] + column, shared["bits"])
    offset, step = (table.array(f"{name}.{index}")[numbers].float().unsqueeze(1) for name in ("offset", "step"))
    return offset + step * codes


def _coded(table: FrozenEmbedding, ids: Tensor) -> Tensor:
    tiers: list[dict[str, int]] = table.layout_config["tiers"]
    tier_of, place_of = table.tier_and_place(ids)
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


def _quantized(table: FrozenEmbedding, ids: Tensor) -> Tensor:
    config = table.layout_config
    number, dim = config["num_codebooks"], table.embedding_dim
    subspace = torch.arange(number, device=ids.device)
    codes = table.codes("codes", ids.unsqueeze(1) * number + subspace, code_bits(config["codebook_size"]))
    codes = codes.clamp(max=config["codebook_size"] - 1)  # (B, M)
    codebook = table.array("codebook").float()
    if config["codebook_bits"] == 8:
        codebook = table.array("codebook_scale").unsqueeze(2) * (codebook - 128)
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


def _gains(table: FrozenEmbedding, ids: Tensor) -> Tensor:
    """The gain of each id of the layout ``quantized``, float32 (B,)."""
    gains = table.array("gain")[ids]
    if table.layout_config["gain_bits"] == 16:
        return gains.float()
    smallest, ratio = table.array("gain_range").unbind()
    scales = [torch.zeros_like(smallest), smallest]
    for _ in range(NUM_CODES - 2):  # rounded in each step, as in the file's specification
        scales.append(scales[-1] * ratio)
    return torch.stack(scales).float()[gains.long()]


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


ROWS_OF_LAYOUT: dict[str, Callable[[FrozenEmbedding, Tensor], Tensor]] = {
    "coded": _coded,
    "dense": _dense,
    "low_rank": _low_rank,
    "quantized": _quantized,
    "scaled": _scaled,
    "shared": _shared,
}
"""(table, int64 ids (B,) in range) -> float32 rows (B, d), by layout."""
