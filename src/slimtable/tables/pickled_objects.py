"""Arrays of pickled objects: ``KeyedVectors.save`` of gensim, models of LightFM. No code of a pickle is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimtable.tables.base import InMemory, Table, TableError, WithIds
from slimtable.tables.numpy_files import ALONE, read_npy
from slimtable.tables.pickles import Placeholder, array_of, read_pickle

_OF_TRAINING = ("_gradients", "_momentum")  # of LightFM
_BESIDE = "__numpys"  # gensim's list of attributes that it put into files of their own


def read_pickled_arrays(path: Path, limit: int) -> dict[str, Table]:
    """The arrays of a pickled object by attribute, or of a pickled dictionary by key.

    Arrays that gensim put beside the file, such as ``NAME.vectors.npy``, are read from there.

    Args:
        path: the pickle.
        limit: bytes of a pickle that is still read.

    Raises:
        TableError: the pickle is damaged or too large, or a file beside it is missing.
    """
    if path.stat().st_size > limit:
        raise TableError(f"{path} is a pickle of {path.stat().st_size:,} bytes, too large here. Save plain arrays.")
    loaded = read_pickle(path.read_bytes(), str(path))
    state = loaded.state if isinstance(loaded, Placeholder) else loaded
    if not isinstance(state, dict):
        raise TableError(f"{path} is a pickle without arrays, and no code of it is run. Save plain arrays.")
    found: dict[str, Table] = {}
    for name, value in state.items():
        try:
            array = array_of(value)
        except TableError as error:
            raise TableError(f"{path}: {error}.") from error
        if array is not None and not str(name).endswith(_OF_TRAINING):
            found[str(name)] = InMemory(array)
    found |= _beside(path, state.get(_BESIDE))
    words = state.get("index_to_key")
    if "vectors" in found and isinstance(words, list) and all(isinstance(word, str) for word in words):
        found["vectors"] = WithIds(found["vectors"], words)
    return found


def _beside(path: Path, names: Any) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for name in names if isinstance(names, list) else []:
        if not isinstance(name, str) or not name.isidentifier():
            raise TableError(f"{path} names an attribute {str(name)[:60]!r}, which cannot be a file beside it.")
        aside = path.with_name(f"{path.name}.{name}.npy")
        if not aside.is_file():
            raise TableError(f"{path} needs {path.name}.{name[:60]}.npy beside it. Copy it into the same folder.")
        found[name] = read_npy(aside)[ALONE]
    return found
