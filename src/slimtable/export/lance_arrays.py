"""The arrays that an index of Lance is built from: a codebook of product quantization, and centroids of partitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slimtable.export.content import Content
from slimtable.export.numpy_files import write as write_arrays

_SIZES = (16, 256)  # Lance's num_bits is 4 or 8


def write(content: Content, out: Path) -> list[Path]:
    """Writes ``pq_codebook.npy`` (M, K, d/M) and ``centroids.npy`` (1, d), zeros, beside the files of "npy".

    They are the arguments ``pq_codebook`` and ``ivf_centroids`` of ``LanceDataset.create_index``, with
    ``num_partitions=1`` and ``num_sub_vectors=M``; ``num_bits`` is 8, or 4 for K = 16.

    Raises:
        ValueError: the table is no product quantization with at most 256 centroids, without gains or rotation.
    """
    quantizer = content.quantizer
    if quantizer is None or not quantizer.joined:
        raise ValueError("Lance knows product quantization alone. Compress with method pq, or export to parquet.")
    if quantizer.gains is not None or quantizer.rotation is not None or quantizer.offset is not None:
        raise ValueError("Lance has no gains, rotations or offsets. Compress with method pq and --set gain_bits=0.")
    size = next((size for size in _SIZES if max(content.sizes) <= size), None)
    if size is None:
        raise ValueError("Lance has at most 256 centroids per codebook. Compress with --set codebook_size=256.")
    written = write_arrays(content, out)
    book = np.stack([_padded(book, size) for book in quantizer.centroids])
    np.save(out / "pq_codebook.npy", book)
    np.save(out / "centroids.npy", np.zeros((1, content.packed.embedding_dim), np.float32))
    return [*written, out / "pq_codebook.npy", out / "centroids.npy"]


def _padded(book: np.ndarray, size: int) -> np.ndarray:
    """Centroids (size, w); the last is repeated, so that no vector is nearer to a new one."""
    return np.concatenate([book, np.repeat(book[-1:], size - len(book), axis=0)])
