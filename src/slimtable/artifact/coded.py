"""The layout ``coded``: each row consists of the centroids that its codes point to (product quantization)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.artifact.layout import (
    FLOATS,
    MAX_DIM,
    MAX_EMBEDDINGS,
    Layout,
    RowsInto,
    check_array,
    check_arrays,
    check_codes,
    check_config,
    check_config_integer,
    check_finite,
    check_stream,
    read_only,
)
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
from slimtable.artifact.tiers import RowsOfTier, check_flags, rows_by_tier
from slimtable.errors import ArtifactFormatError

MAX_TIERS = 256
MAX_CODEBOOK_SIZE = 1 << 16


@dataclass(frozen=True)
class PackedTier:
    """The ids whose codes have the same size.

    Attributes:
        num_rows: number of ids in the tier.
        num_codebooks: codes per id, M.
        codebook_size: number of centroids that a code can point to, K: the first K of the codebook.
        codebook: index of the codebook array; tiers may share one.
    """

    num_rows: int
    num_codebooks: int
    codebook_size: int
    codebook: int

    @property
    def width(self) -> int:
        """Bits of one code."""
        return code_bits(self.codebook_size)

    @property
    def num_codes(self) -> int:
        """Number of codes in the tier."""
        return self.num_rows * self.num_codebooks


class CodedLayout(Layout):
    """Codes of centroids, in one or more tiers of ids.

    ``codes.<t>`` is a bit stream of ``num_rows · num_codebooks`` codes; ``codebook.<c>`` is float32 or
    float16 (M, K, d/M), or (1, K, d/M) with ``share_subspaces``. Ids are sorted by tier, unless
    there is an array ``tiers``, a bit stream of one tier number per id; then the row of an id is its rank in its tier.
    """

    def check(self, packed: Packed) -> None:
        tiers = read_tiers(packed)
        if sum(tier.num_rows for tier in tiers) != packed.num_embeddings:
            counts = [tier.num_rows for tier in tiers]
            raise ArtifactFormatError(f"the tiers' `num_rows` {counts} must add up to {packed.num_embeddings}.")
        num_books = 1 + max(tier.codebook for tier in tiers)
        flags = ["tiers"] if "tiers" in packed.arrays else []
        codes = [f"codes.{t}" for t in range(len(tiers))]
        check_arrays(packed, [*codes, *(f"codebook.{c}" for c in range(num_books)), *flags])
        for tier, name in zip(tiers, codes, strict=True):
            check_stream(packed, name, tier.num_codes, tier.width)
        for c in range(num_books):
            self._check_book(packed, c, [tier for tier in tiers if tier.codebook == c])
        if flags:
            check_stream(packed, "tiers", packed.num_embeddings, code_bits(len(tiers)))

    def _check_book(self, packed: Packed, c: int, tiers: list[PackedTier]) -> None:
        name = f"codebook.{c}"
        if not tiers:
            raise ArtifactFormatError(f"array `{name}` is used by no tier.")
        numbers = {tier.num_codebooks for tier in tiers}
        if len(numbers) > 1:
            raise ArtifactFormatError(
                f"tiers that share `{name}` must agree on `num_codebooks`, got {sorted(numbers)}."
            )
        (number,) = numbers
        if packed.embedding_dim % number:
            raise ArtifactFormatError(
                f"`num_codebooks` must divide embedding_dim={packed.embedding_dim}, got {number}."
            )
        shape = packed.arrays[name].shape
        size = shape[1] if len(shape) == 3 else 0
        largest = max(tier.codebook_size for tier in tiers)
        if not largest <= size <= MAX_CODEBOOK_SIZE:
            raise ArtifactFormatError(f"array `{name}` must hold at least {largest} centroids, got shape {shape}.")
        subspaces = 1 if packed.layout_config["share_subspaces"] else number
        check_array(packed, name, FLOATS, (subspaces, size, packed.embedding_dim // number))

    def check_values(self, packed: Packed) -> None:
        tiers = read_tiers(packed)
        for c in range(1 + max(tier.codebook for tier in tiers)):
            check_finite(packed, f"codebook.{c}")
        for t, tier in enumerate(tiers):
            check_codes(packed, f"codes.{t}", tier.num_codes, tier.codebook_size)
        if "tiers" in packed.arrays:
            check_flags(packed, [tier.num_rows for tier in tiers])

    def exact_bits(self, packed: Packed) -> int:
        tiers = read_tiers(packed)
        codes = sum(tier.num_codes * tier.width for tier in tiers)
        books = sum(array.nbytes for name, array in packed.arrays.items() if name.startswith("codebook."))
        flags = packed.num_embeddings * code_bits(len(tiers)) if "tiers" in packed.arrays else 0
        return codes + 8 * books + flags

    def streams(self, packed: Packed) -> dict[str, Role]:
        tiers = read_tiers(packed)
        found = {"tiers": Role("assignments", code_bits(len(tiers)), packed.num_embeddings, 1, stream=True)}
        for t, tier in enumerate(tiers):
            found[f"codes.{t}"] = Role("assignments", tier.width, tier.num_codes, tier.num_codebooks, stream=True)
        return found

    def open(self, packed: Packed) -> RowsInto:
        tiers = read_tiers(packed)
        tier_rows = [_open_tier(packed, t, tier) for t, tier in enumerate(tiers)]
        if len(tiers) == 1:
            (rows_of_one,) = tier_rows
            in_order = read_only(np.empty(0, np.int64))
            return lambda ids, out: rows_of_one(ids, in_order, out)
        return rows_by_tier(packed, [tier.num_rows for tier in tiers], tier_rows)


def read_tiers(packed: Packed) -> list[PackedTier]:
    """Read ``layout_config["tiers"]``.

    Raises:
        ArtifactFormatError: if the config is not valid for this layout.
    """
    config = packed.layout_config
    check_config(config, "layout_config", ("tiers", "share_subspaces"))
    if not isinstance(config["share_subspaces"], bool):
        raise ArtifactFormatError(f"`share_subspaces` must be true or false, got {config['share_subspaces']!r}.")
    if not isinstance(config["tiers"], list | tuple) or not 1 <= len(config["tiers"]) <= MAX_TIERS:
        raise ArtifactFormatError(f"`layout_config.tiers` must be a list of 1 to {MAX_TIERS} tiers.")
    limits = {
        "num_rows": (0, MAX_EMBEDDINGS),
        "num_codebooks": (1, MAX_DIM),
        "codebook_size": (1, MAX_CODEBOOK_SIZE),
        "codebook": (0, len(config["tiers"]) - 1),
    }
    tiers = []
    for t, tier in enumerate(config["tiers"]):
        what = f"layout_config.tiers[{t}]"
        check_config(tier, what, limits)
        tiers.append(
            PackedTier(**{key: check_config_integer(tier, what, key, *limit) for key, limit in limits.items()})
        )
    return tiers


def _open_tier(packed: Packed, t: int, tier: PackedTier) -> RowsOfTier:
    from slimtable.artifact import coded_kernels, kernels

    codes = read_only(packed.arrays[f"codes.{t}"])
    book = packed.arrays[f"codebook.{tier.codebook}"].astype(np.float32, copy=False)
    subspaces, size, _ = book.shape
    if size < 1 << tier.width:
        # Padded to every code of this width, so that no code points outside even if the file changes.
        book = np.pad(book, ((0, 0), (0, (1 << tier.width) - size), (0, 0)))
    stride = 0 if subspaces == 1 else book[0].size
    flat = read_only(book.reshape(-1))

    def rows_into(rows: np.ndarray, slots: np.ndarray, out: np.ndarray) -> None:
        block = np.empty((kernels.BLOCK, tier.num_codebooks), np.uint16)
        coded_kernels.coded_rows(codes, tier.width, tier.num_codebooks, flat, stride, rows, slots, block, out)

    return rows_into
