"""The layout ``tiered``: groups of ids in different layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.artifact.layout import (
    MAX_EMBEDDINGS,
    Layout,
    RowsInto,
    check_arrays,
    check_config,
    check_config_integer,
    check_head,
    check_stream,
    naming,
)
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
from slimtable.artifact.tiers import RowsOfTier, check_flags, rows_by_tier
from slimtable.errors import ArtifactFormatError

MAX_PARTS = 16


class TieredLayout(Layout):
    """Each id is in one of several parts, which are tables of other layouts; its row is that at its rank in the part.

    Array ``part.<i>.<array>`` is an array of part ``i``. Ids are sorted by part, unless there is an array ``tiers``, a
    bit stream of one part number per id.

    Args:
        layouts: the layouts that a part can have, by name.
    """

    format_version: ClassVar[int] = 4

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self._layouts = layouts

    def check(self, packed: Packed) -> None:
        parts = self._parts(packed)
        counts = [part.num_embeddings for part in parts]
        if sum(counts) != packed.num_embeddings:
            raise ArtifactFormatError(f"the parts' `num_rows` {counts} must add up to {packed.num_embeddings}.")
        known = {f"part.{i}.{name}" for i, part in enumerate(parts) for name in part.arrays}
        check_arrays(packed, known | (set(packed.arrays) & {"tiers"}))
        for i, part in enumerate(parts):
            with naming(f"part {i}"):
                check_head(part)
                self._layouts[part.layout].check(part)
        if "tiers" in packed.arrays:
            check_stream(packed, "tiers", packed.num_embeddings, code_bits(len(parts)))

    def check_values(self, packed: Packed) -> None:
        parts = self._parts(packed)
        for i, part in enumerate(parts):
            with naming(f"part {i}"):
                self._layouts[part.layout].check_values(part)
        if "tiers" in packed.arrays:
            check_flags(packed, [part.num_embeddings for part in parts])

    def exact_bits(self, packed: Packed) -> int:
        parts = self._parts(packed)
        flags = packed.num_embeddings * code_bits(len(parts)) if "tiers" in packed.arrays else 0
        return flags + sum(self._layouts[part.layout].exact_bits(part) for part in parts)

    def num_vectors(self, packed: Packed) -> int:
        return sum(self._layouts[part.layout].num_vectors(part) for part in self._parts(packed))

    def roles(self, packed: Packed) -> dict[str, Role]:
        parts = self._parts(packed)
        found = {
            f"part.{i}.{name}": role
            for i, part in enumerate(parts)
            for name, role in self._layouts[part.layout].roles(part).items()
        }
        if "tiers" in packed.arrays:
            found["tiers"] = Role("assignments", code_bits(len(parts)), packed.num_embeddings, 1, stream=True)
        return found

    def open(self, packed: Packed) -> RowsInto:
        parts = self._parts(packed)
        counts = [part.num_embeddings for part in parts]
        return rows_by_tier(packed, counts, [_placed(self._layouts[part.layout].open(part)) for part in parts])

    def _parts(self, packed: Packed) -> list[Packed]:
        """The parts as tables of their own.

        Raises:
            ArtifactFormatError: if the config is not valid for this layout.
        """
        config = packed.layout_config
        check_config(config, "layout_config", ("parts",))
        if not isinstance(config["parts"], list | tuple) or not 2 <= len(config["parts"]) <= MAX_PARTS:
            raise ArtifactFormatError(f"`layout_config.parts` must be a list of 2 to {MAX_PARTS} parts.")
        parts = []
        for i, part in enumerate(config["parts"]):
            what, prefix = f"layout_config.parts[{i}]", f"part.{i}."
            check_config(part, what, ("num_rows", "layout", "layout_config"))
            if not isinstance(part["layout"], str) or part["layout"] not in self._layouts:
                known = sorted(self._layouts)
                raise ArtifactFormatError(f"`{what}.layout` must be one of {known}, got {part['layout']!r:.40}.")
            if not isinstance(part["layout_config"], Mapping):
                raise ArtifactFormatError(f"`{what}.layout_config` must be an object.")
            parts.append(
                Packed(
                    part["layout"],
                    check_config_integer(part, what, "num_rows", 1, MAX_EMBEDDINGS),
                    packed.embedding_dim,
                    {name[len(prefix) :]: array for name, array in packed.arrays.items() if name.startswith(prefix)},
                    part["layout_config"],
                )
            )
        return parts


def _placed(rows_into: RowsInto) -> RowsOfTier:
    """Decodes rows of a part to their places among those of the other parts."""
    from slimtable.artifact import tier_kernels

    def placed(rows: np.ndarray, slots: np.ndarray, out: np.ndarray) -> None:
        found = np.empty((rows.size, out.shape[1]), np.float32)
        rows_into(rows, found)
        tier_kernels.scatter_rows(found, slots, out)

    return placed
