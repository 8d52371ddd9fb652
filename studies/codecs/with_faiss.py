"""Tables compressed by the quantizers of faiss, at most as large in all, codebooks and rotations included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from slimtable.errors import BudgetError
from studies.codecs.ours import Coded

_SCALAR = {"QT_4bit": 4, "QT_6bit": 6, "QT_8bit": 8, "QT_fp16": 16}
_SEED_BITS = 64
_BEAM = 16
_MOST_ADDITIVE = 16
"""Codebooks of LSQ; with more its search takes minutes."""
_TRIED = {"PQ": range(4, 9), "OPQ": (4, 6, 8), "RQ": (4, 6, 8), "LSQ": (4, 6, 8)}
"""Bits of a code that are tried; codebooks weigh more the larger they are, and are worth more."""


def settings_within(kind: str, shape: tuple[int, int], bits: float) -> list[dict[str, Any]]:
    """The settings of a quantizer to be tried within a budget: of each size of codebooks, as many as fit.

    Args:
        kind: "PQ", "OPQ", "RQ", "LSQ", "SQ" or "RaBitQ".
        shape: rows and columns of the table.
        bits: the budget of all its arrays.

    Returns:
        Their options, with the "bits" that each takes.

    Raises:
        BudgetError: even the smallest setting is larger.
    """
    found = [setting for setting in _settings(kind, *shape) if setting["bits"] <= bits]
    if not found:
        raise BudgetError(f"No setting of {kind} of faiss fits into {bits / 8:,.0f} bytes.")
    fullest = {setting.get("code_bits"): setting for setting in sorted(found, key=lambda setting: setting["bits"])}
    return list(fullest.values())


def compress_best(
    kind: str, settings: Sequence[dict[str, Any]], table: np.ndarray, judge: Callable[[np.ndarray], float]
) -> Coded:
    """Compresses a table with each of some settings; the one that is judged best counts.

    Args:
        kind: as in :func:`settings_within`.
        settings: the settings.
        table: float32 (N, d).
        judge: decoded rows -> a figure that should be high.
    """
    coded = [compress(kind, setting, table) for setting in settings]
    return coded[0] if len(coded) == 1 else max(coded, key=lambda each: judge(each.rows))


def compress(kind: str, setting: dict[str, Any], table: np.ndarray) -> Coded:
    """Compresses a table with a setting of :func:`settings_within`; vectors are learned from all rows.

    Args:
        kind: as there.
        setting: its options.
        table: float32 (N, d).
    """
    import faiss

    table = np.ascontiguousarray(table, np.float32)
    width = table.shape[1]
    if kind == "RaBitQ":
        return Coded(_rabitq(table, setting["dimension_bits"]), setting["bits"], setting)
    if kind == "SQ":
        index: Any = faiss.IndexScalarQuantizer(width, getattr(faiss.ScalarQuantizer, setting["type"]))
    elif kind in ("PQ", "OPQ"):
        index = faiss.IndexPQ(width, setting["codebooks"], setting["code_bits"])
        index.pq.cp.min_points_per_centroid = 1  # small tables are no reason for a warning
        if kind == "OPQ":
            rotation = faiss.OPQMatrix(width, setting["codebooks"])
            rotation.pq = learned = faiss.ProductQuantizer(width, setting["codebooks"], setting["code_bits"])
            learned.cp.min_points_per_centroid = 1
            index = faiss.IndexPreTransform(rotation, index)
    elif kind == "RQ":
        index = faiss.IndexResidualQuantizer(width, setting["codebooks"], setting["code_bits"])
        index.rq.max_beam_size = _BEAM
        index.rq.cp.min_points_per_centroid = 1
    else:
        index = faiss.IndexLocalSearchQuantizer(width, setting["codebooks"], setting["code_bits"])
    index.train(table)
    return Coded(index.sa_decode(index.sa_encode(table)), setting["bits"], setting)


def _settings(kind: str, rows: int, width: int) -> Iterator[dict[str, Any]]:
    """All settings of a quantizer with the bits that they take: codes as whole bytes a row are not asked for."""
    if kind == "SQ":
        for name, each in _SCALAR.items():
            ranges = 0 if each == 16 else 64 * width  # a smallest value and a range of every column
            yield {"type": name, "bits": rows * width * each + ranges}
        return
    if kind == "RaBitQ":
        import faiss

        for each in range(1, 10):
            index: Any = faiss.IndexRaBitQ(width, faiss.METRIC_INNER_PRODUCT, each)
            yield {"dimension_bits": each, "bits": 8 * rows * index.code_size + _SEED_BITS}
        return
    products = kind in ("PQ", "OPQ")
    for each in _TRIED[kind]:
        if 2**each > rows:
            continue
        for codebooks in range(1, 1 + (_MOST_ADDITIVE if kind == "LSQ" else width)):
            if products and width % codebooks:
                continue
            book = (1 if products else codebooks) * 32 * width * 2**each
            rotation = 32 * width * width if kind == "OPQ" else 0
            yield {"codebooks": codebooks, "code_bits": each, "bits": rows * codebooks * each + book + rotation}


def _rabitq(table: np.ndarray, bits: int) -> np.ndarray:
    """What RaBitQ makes of the rows: its estimate of a dot product is linear, so unit vectors give the values.

    Rows are rotated by a seeded matrix, and centred at zero, so that the estimate has no other term.
    """
    import faiss

    width = table.shape[1]
    rotation = faiss.RandomRotationMatrix(width, width)
    rotation.init(0)
    index = faiss.IndexRaBitQ(width, faiss.METRIC_INNER_PRODUCT, bits)
    index.train(rotation.apply(table))
    faiss.copy_array_to_vector(np.zeros(width, np.float32), index.center)
    index.qb = 0  # queries are not quantized
    index.add(rotation.apply(table))
    values, ids = index.search(rotation.apply(np.eye(width, dtype=np.float32)), len(table))
    rows = np.empty_like(values)
    np.put_along_axis(rows, ids, values, axis=1)
    return np.ascontiguousarray(rows.T)
