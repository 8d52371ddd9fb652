"""What is exported of a table, and the parts of it that all formats share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.artifact.file import ArtifactFile
from slimtable.artifact.packed import Packed
from slimtable.artifact.quantizer import Quantizer, ScalarCodes, quantizer_of, scalar_codes_of

BLOCK = 1 << 16
"""Ids that are exported at a time; a multiple of 8."""


@dataclass(frozen=True, eq=False)
class Content:
    """A table of an artifact, taken apart.

    Attributes:
        name: name of the table.
        packed: the table.
        quantizer: its codes and centroids, or None.
        scalar: its scalar codes, or None; one of the two is there.
        raw_ids: raw id of each row, or None.
    """

    name: str
    packed: Packed
    quantizer: Quantizer | None
    scalar: ScalarCodes | None
    raw_ids: Any

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each code."""
        if self.quantizer is not None:
            return self.quantizer.codes.sizes
        assert self.scalar is not None
        return (1 << self.scalar.bits,) * self.packed.embedding_dim

    @property
    def code_type(self) -> np.dtype:
        """The smallest type that holds all codes."""
        return np.min_scalar_type(max(self.sizes) - 1)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The codes of all ids, (n, M) each, and which ids they are."""
        total = self.packed.num_embeddings
        read = self.quantizer.codes.read if self.quantizer is not None else self.scalar.read  # type: ignore[union-attr]
        for start in range(0, total, BLOCK):
            stop = min(start + BLOCK, total)
            yield slice(start, stop), read(start, stop).astype(self.code_type)

    def columns(self, ids: slice) -> dict[str, np.ndarray]:
        """What each id has besides codes, by name: gains, or offsets and steps."""
        if self.quantizer is not None and self.quantizer.gains is not None:
            return {"gain": self.quantizer.gains(ids.start, ids.stop)}
        if self.scalar is not None and self.scalar.by_row:
            offset, step = self.scalar.scales(ids.start, ids.stop)
            return {"offset": offset, "step": step}
        return {}

    def raw_of(self, ids: slice) -> Any:
        """Raw ids, or row numbers if there are none."""
        if self.raw_ids is None:
            return np.arange(ids.start, ids.stop)
        if isinstance(self.raw_ids, np.ndarray):
            return self.raw_ids[ids]
        return [self.raw_ids[i] for i in range(ids.start, ids.stop)]

    def arrays(self) -> dict[str, np.ndarray]:
        """What all ids share: ``codebook.<m>``, or scales of the columns; rotation; offset."""
        if self.scalar is not None:
            if self.scalar.by_row:
                return {}
            offset, step = self.scalar.scales(0, 0)
            return {"offset": offset, "step": step}
        assert self.quantizer is not None
        found = {f"codebook.{m}": np.asarray(book, order="C") for m, book in enumerate(self.quantizer.centroids)}
        if self.quantizer.rotation is not None:
            found["rotation"] = self.quantizer.rotation
        if self.quantizer.offset is not None:
            found["offset"] = self.quantizer.offset
        return found

    def description(self) -> dict[str, Any]:
        """How rows are made of the arrays, in JSON types."""
        packed = self.packed
        if self.quantizer is not None:
            combine = "concat" if self.quantizer.joined else "sum"
            row = f"{combine} of codebook.<m>[codes[m]]"
            row = f"gain * ({row})" if self.quantizer.gains is not None else row
            row = f"({row}) @ rotation" if self.quantizer.rotation is not None else row
            row = f"{row} + offset" if self.quantizer.offset is not None else row
        else:
            row = "offset + step * codes"
        return {
            "table": self.name,
            "num_embeddings": packed.num_embeddings,
            "embedding_dim": packed.embedding_dim,
            "padding_idx": packed.padding_idx,
            "method": packed.method,
            "codebook_sizes": list(self.sizes),
            "row": row,
        }


def content_of(opened: ArtifactFile, name: str | None) -> Content:
    """Takes a table apart.

    Args:
        opened: the artifact.
        name: name of the table; None for the only one.

    Raises:
        ValueError: there is no such table, or it does not consist of codes.
    """
    known = ", ".join(opened.tables)
    if name is None and len(opened.tables) != 1:
        raise ValueError(f"{opened.path} holds several tables: {known}. Choose one with --table.")
    name = next(iter(opened.tables)) if name is None else name
    if name not in opened.tables:
        raise ValueError(f"{opened.path} has no table {name!r}. Its tables: {known}.")
    packed = opened.tables[name]
    quantizer, scalar = quantizer_of(packed), scalar_codes_of(packed)
    if quantizer is None and scalar is None:
        raise ValueError(
            f"Table {name} ({packed.method or packed.layout}) does not consist of codes of one kind, so there is "
            "nothing to export but its rows. Compress it with rq, pq or uniform."
        )
    return Content(name, packed, quantizer, scalar, opened.vocabularies.get(name))
