"""Compiled kernel of the ``coded`` layout: rows from centroids."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import AHEAD, copy_floats, prefetch_bytes, unpack


@njit(cache=True, nogil=True)
def coded_rows(codes, width, num_codebooks, book, book_stride, rows, slots, out):
    """Write the centroids of row ``rows[i]`` of the codes to row ``slots[i]`` of ``out``.

    Args:
        codes: uint8 stream of ``num_codebooks`` codes of ``width`` bits per row.
        width: bits of a code.
        num_codebooks: codes per row, M; ``d / M`` floats come from each.
        book: float32 centroids, flat; each codebook has at least 2**width, so that no code points outside.
        book_stride: floats from one codebook to the next; 0 if all subspaces share one.
        rows: int64 (n,) rows inside the codes.
        slots: int64 (n,) rows of ``out``; empty means 0, 1, 2, ...
        out: float32 (n', d).
    """
    dim = out.shape[1]
    size = dim // num_codebooks
    row_bits = num_codebooks * width
    flat = out.reshape(-1)
    row = np.empty(num_codebooks, np.uint16)
    for i in range(rows.size):
        if i + AHEAD < rows.size:
            bit = rows[i + AHEAD] * row_bits
            prefetch_bytes(codes, bit >> 3, (bit + row_bits + 7) >> 3)
        target = (slots[i] if slots.size > 0 else i) * dim
        if width == 8 and size == 8:  # the common shape: straight from the stream
            byte = np.uint64(rows[i] * num_codebooks)
            for m in range(num_codebooks):
                code = np.int64(codes[byte + np.uint64(m)])
                copy_floats(flat, target + 8 * m, book, m * book_stride + 8 * code, 8)
            continue
        unpack(codes, rows[i] * row_bits, width, num_codebooks, row)
        # The compiler inlines a copy of constant size, hence one loop for each common size.
        if size == 1:
            for m in range(num_codebooks):
                copy_floats(flat, target + m, book, m * book_stride + np.int64(row[m]), 1)
        elif size == 2:
            for m in range(num_codebooks):
                copy_floats(flat, target + 2 * m, book, m * book_stride + 2 * np.int64(row[m]), 2)
        elif size == 4:
            for m in range(num_codebooks):
                copy_floats(flat, target + 4 * m, book, m * book_stride + 4 * np.int64(row[m]), 4)
        elif size == 8:
            for m in range(num_codebooks):
                copy_floats(flat, target + 8 * m, book, m * book_stride + 8 * np.int64(row[m]), 8)
        else:
            for m in range(num_codebooks):
                copy_floats(flat, target + size * m, book, m * book_stride + size * np.int64(row[m]), size)
