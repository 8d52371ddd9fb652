"""Indexes of faiss made of our codes and codebooks: they find what our decoded rows find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact.quantizer import Quantizer, ScalarCodes
from slimtable.export.content import Content
from slimtable.files import replace_file, write_json

_MAX_BITS = 16  # of a code in an index
_ORTHOGONAL = 0.01  # largest error of R · Rᵀ; rotations in 16 bits have less


def write(content: Content, out: Path) -> list[Path]:
    """Writes an index for squared distances: IndexPQ, IndexResidualQuantizer or IndexScalarQuantizer.

    A rotation becomes a linear transform before it. Raw ids that are integers are the ids of the index; texts are
    written beside it, as ``OUT.ids.json``. The padding id is not in the index.

    Raises:
        ValueError: faiss cannot express the table; the message says how to compress it instead.
    """
    import faiss

    index = index_of(content)
    with replace_file(out) as file:
        file.write(faiss.serialize_index(index).data)
    if content.raw_ids is None or isinstance(content.raw_ids, np.ndarray):
        return [out]
    beside = out.with_name(f"{out.name}.ids.json")
    write_json(beside, list(content.raw_ids))
    return [out, beside]


def index_of(content: Content, metric: str = "l2") -> Any:
    """The index of a table.

    Args:
        content: the table.
        metric: "l2" or "inner_product".

    Raises:
        ValueError: as :func:`write`.
    """
    import faiss

    number = {"l2": faiss.METRIC_L2, "inner_product": faiss.METRIC_INNER_PRODUCT}[metric]
    dim = content.packed.embedding_dim
    if content.scalar is not None:
        inner, pack = _scalar_index(content.scalar, dim, number)
    else:
        assert content.quantizer is not None
        inner, pack = _code_index(content.quantizer, dim, number)
    keep = np.ones(content.packed.num_embeddings, bool)
    if content.packed.padding_idx is not None:
        keep[content.packed.padding_idx] = False
    parts = [pack(codes[keep[ids]]) for ids, codes in content.blocks()]
    outer = [inner]
    quantizer = content.quantizer
    if quantizer is not None and (quantizer.rotation is not None or quantizer.offset is not None):
        outer.append(faiss.IndexPreTransform(_transform(quantizer, dim, metric), inner))
    ids = None
    if isinstance(content.raw_ids, np.ndarray) or not keep.all():
        raw = content.raw_ids if isinstance(content.raw_ids, np.ndarray) else np.arange(len(keep))
        ids = raw[keep].astype(np.int64)
        outer.append(faiss.IndexIDMap2(outer[-1]))
    faiss.copy_array_to_vector(np.concatenate(parts).reshape(-1), inner.codes)
    for index in outer:
        index.ntotal = int(keep.sum())
        index.is_trained = True
    if ids is not None:
        faiss.copy_array_to_vector(ids, outer[-1].id_map)
        outer[-1].construct_rev_map()
    return outer[-1]


def _scalar_index(scalar: ScalarCodes, dim: int, metric: int) -> tuple[Any, Any]:
    import faiss

    kinds = {8: faiss.ScalarQuantizer.QT_8bit, 6: faiss.ScalarQuantizer.QT_6bit, 4: faiss.ScalarQuantizer.QT_4bit}
    if scalar.by_row:
        raise ValueError("faiss has no scales of rows. Compress with --set axis=column, or export to parquet.")
    if scalar.bits not in kinds or (scalar.bits == 6 and dim % 4) or (scalar.bits == 4 and dim % 2):
        raise ValueError(f"faiss has no codes of {scalar.bits} bits for this width. Compress with --set bits=8.")
    index = faiss.IndexScalarQuantizer(dim, kinds[scalar.bits], metric)
    offset, step = (values.astype(np.float64) for values in scalar.scales(0, 0))
    # faiss decodes to the middle of a cell: low + (code + 1/2) / (2^bits - 1) · width.
    trained = np.concatenate([offset - 0.5 * step, step * ((1 << scalar.bits) - 1)]).astype(np.float32)
    faiss.copy_array_to_vector(trained, index.sq.trained)
    return index, lambda codes: _bit_strings(codes, [scalar.bits] * dim)


def _code_index(quantizer: Quantizer, dim: int, metric: int) -> tuple[Any, Any]:
    import faiss

    if quantizer.gains is not None:
        raise ValueError("faiss has no gains of rows. Compress with --set gain_bits=0, or export to parquet.")
    widths = [max(1, (size - 1).bit_length()) for size in quantizer.codes.sizes]
    if max(widths) > _MAX_BITS:
        raise ValueError(
            f"faiss searches codes of at most {_MAX_BITS} bits, these have {max(widths)}. Compress with fewer rows or "
            "smaller codebooks."
        )
    books = [_padded(book, 1 << width) for book, width in zip(quantizer.centroids, widths, strict=True)]
    if quantizer.joined:
        index = faiss.IndexPQ(dim, len(widths), widths[0], metric)
        faiss.copy_array_to_vector(np.concatenate(books).reshape(-1), index.pq.centroids)
    else:
        bits = faiss.UInt64Vector()
        for width in widths:
            bits.push_back(width)
        make: Any = faiss.IndexResidualQuantizer  # its stubs do not know widths of their own for each codebook
        index = make(dim, bits, metric, faiss.AdditiveQuantizer.ST_decompress)
        faiss.copy_array_to_vector(np.concatenate(books).reshape(-1), index.rq.codebooks)
        index.rq.is_trained = True
    return index, lambda codes: _bit_strings(codes, widths)


def _transform(quantizer: Quantizer, dim: int, metric: str) -> Any:
    """X -> R · (x - offset), which turns rows into shapes and keeps distances."""
    import faiss

    if metric != "l2" and quantizer.offset is not None:
        raise ValueError("An offset changes inner products in faiss. Compress without it, or search by distance.")
    rotation = np.eye(dim, dtype=np.float32) if quantizer.rotation is None else quantizer.rotation
    if np.abs(rotation.astype(np.float64) @ rotation.T - np.eye(dim)).max() > _ORTHOGONAL:
        raise ValueError(
            "The rotation of the table is not orthogonal, so that distances would change. Export to parquet."
        )
    has_bias = quantizer.offset is not None
    transform = faiss.LinearTransform(dim, dim, has_bias)
    faiss.copy_array_to_vector(np.ascontiguousarray(rotation, np.float32).reshape(-1), transform.A)
    if quantizer.offset is not None:
        faiss.copy_array_to_vector(-(rotation.astype(np.float64) @ quantizer.offset).astype(np.float32), transform.b)
    transform.is_trained = True
    transform.set_is_orthonormal()
    return transform


def _padded(book: np.ndarray, size: int) -> np.ndarray:
    """Centroids (size, w), zeros after the last."""
    padded = np.zeros((size, book.shape[1]), np.float32)
    padded[: len(book)] = book
    return padded


def _bit_strings(codes: np.ndarray, widths: list[int]) -> np.ndarray:
    """Codes (n, M) as faiss stores them: the bits of a row follow each other, and rows begin with a whole byte."""
    import faiss

    wide = np.ascontiguousarray(codes, np.int32)
    if len(set(widths)) == 1:
        packed: np.ndarray = faiss.pack_bitstrings(wide, widths[0])
    else:
        packed = faiss.pack_bitstrings(wide, np.array(widths, np.int32))
    return packed
