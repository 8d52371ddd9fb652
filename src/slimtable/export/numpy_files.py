"""Codes and codebooks as ``.npy`` files in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slimtable.export.content import Content
from slimtable.files import write_json


def write(content: Content, out: Path) -> list[Path]:
    """Writes ``codes.npy`` (N, M), ``codebook.<m>.npy`` and so on into a new folder; a block at a time."""
    out.mkdir()
    count = content.packed.num_embeddings
    paths = {"codes": out / "codes.npy"}
    codes = np.lib.format.open_memmap(paths["codes"], "w+", content.code_type, (count, len(content.sizes)))
    columns: dict[str, np.ndarray] = {}
    for name, array in content.columns(slice(0, 0)).items():
        paths[name] = out / f"{name}.npy"
        columns[name] = np.lib.format.open_memmap(paths[name], "w+", array.dtype, (count,))
    for ids, block in content.blocks():
        codes[ids] = block
        for name, values in content.columns(ids).items():
            columns[name][ids] = values
    for array in (codes, *columns.values()):
        array.flush()  # type: ignore[attr-defined]
    for name, array in content.arrays().items():
        paths[name] = out / f"{name}.npy"
        np.save(paths[name], array)
    if content.raw_ids is not None:
        paths["ids"] = out / "ids.npy"
        raw = content.raw_ids
        np.save(paths["ids"], raw if isinstance(raw, np.ndarray) else np.array(list(raw), dtype=np.str_))
    paths["about"] = out / "about.json"
    write_json(paths["about"], content.description())
    return list(paths.values())
