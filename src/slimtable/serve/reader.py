"""Opening artifacts and looking up rows: the public interface of serving."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from slimtable.artifact.file import ArtifactFile, read_artifact, verify_artifact, verify_opened
from slimtable.artifact.layouts import Decoder, exact_bits
from slimtable.artifact.packed import Packed
from slimtable.artifact.vocabulary import Index, Strings
from slimtable.errors import ArtifactChecksumError, ArtifactValueError


@dataclass(frozen=True)
class Origin:
    """The file that a table or an artifact was opened from, so that other processes can open it too.

    Attributes:
        path: absolute path of the file, links resolved.
        digest: digest of its header, which holds the checksums of all arrays.
    """

    path: Path
    digest: str

    def open(self) -> Artifact:
        """Open the file again.

        Raises:
            FileNotFoundError: if it is gone.
            ArtifactError: if it has changed.
        """
        opened = read_artifact(self.path)
        if opened.manifest["digest"] != self.digest:
            raise ArtifactChecksumError(
                f"`{self.path}` is not the file that was pickled: it was replaced later. Open it with "
                "open_artifact, and pickle its tables again."
            )
        return Artifact(opened)

    def table(self, name: str) -> Table:
        """Open the file again and return one of its tables; errors as for :meth:`open`."""
        return self.open()[name]


class Table:
    """One compressed table of an artifact; lookups are thread-safe.

    A pickle, such as for a worker process, holds only the path and digest of the file; the other process opens it.

    Args:
        name: name of the table in the artifact.
        packed: the packed table.
        vocabulary: the raw id of each row, if the artifact has them.
        origin: the file of the arrays; None if there is none, in which case the table cannot be pickled.

    Attributes:
        name: name of the table in the artifact.
        num_embeddings: number of ids, N.
        embedding_dim: width of a row, d.
        padding_idx: the id that is served as zeros, or None.
        method: registry name of the method that made the table.
        method_config: the configuration of that method.
        layout: layout of the arrays.
        bits: exact number of bits, without the padding of bit streams to whole bytes.
        nbytes: bytes of the arrays.
        vocabulary: the raw id of each row: int64 (N,), a sequence of N strings, or None.
    """

    def __init__(
        self,
        name: str,
        packed: Packed,
        vocabulary: np.ndarray | Strings | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.name = name
        self.num_embeddings = packed.num_embeddings
        self.embedding_dim = packed.embedding_dim
        self.padding_idx = packed.padding_idx
        self.method = packed.method
        self.method_config = dict(packed.method_config)
        self.layout = packed.layout
        self.bits = exact_bits(packed)
        self.nbytes = packed.nbytes
        self.vocabulary = vocabulary
        self._decoder = Decoder(packed)
        self._origin = origin

    def __reduce__(self) -> tuple[Any, ...]:
        if self._origin is None:
            raise TypeError(
                f"table `{self.name}` was not opened from a file, so it cannot be pickled. Use write_artifact first."
            )
        return Origin.table, (self._origin, self.name)

    @property
    def compression_ratio(self) -> float:
        """Bits of the float32 table divided by ``bits``."""
        return 32 * self.num_embeddings * self.embedding_dim / self.bits

    def __len__(self) -> int:
        return self.num_embeddings

    def __repr__(self) -> str:
        method = self.method or self.layout
        return (
            f"Table({self.name!r}, {self.num_embeddings:,} × {self.embedding_dim}, {method}, "
            f"{self.nbytes:,} bytes, {self.compression_ratio:.1f}× smaller)"
        )

    def lookup(self, ids: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Looks up the rows of ids.

        Args:
            ids: integers of any shape, each in [0, num_embeddings).
            out: float32 (*ids.shape, d), contiguous; if given, filled and returned.

        Returns:
            float32 (*ids.shape, d).

        Raises:
            TypeError: if the ids are not integers.
            IndexError: if an id is out of range.
            ValueError: if ``out`` has another shape or is not contiguous.
        """
        return self._decoder(ids, out)

    def bag(
        self,
        ids: Any,
        offsets: Any,
        mode: str = "sum",
        per_sample_weights: Any = None,
        include_last_offset: bool = False,
    ) -> np.ndarray:
        """Sums or means of bags of rows, like ``torch.nn.EmbeddingBag``.

        Args:
            ids: integers (n,), each in [0, num_embeddings).
            offsets: integers (B,): start of each bag, ascending from 0.
            mode: "sum" or "mean".
            per_sample_weights: (n,) factors of the rows, for "sum" only.
            include_last_offset: True if ``offsets`` is (B + 1,) and ends with n.

        Returns:
            float32 (B, d); an empty bag gives zeros.

        Raises:
            TypeError: if ids or offsets are not integers.
            IndexError: if an id is out of range.
            ValueError: if the offsets, the mode or the weights are invalid.
        """
        return self._decoder.bag(ids, offsets, mode, per_sample_weights, include_last_offset)

    def weight(self) -> np.ndarray:
        """The whole table decoded, float32 (N, d); allocates 4·N·d bytes."""
        return self._decoder(np.arange(self.num_embeddings))

    def ids_of(self, raw_ids: Any) -> np.ndarray:
        """The ids of raw ids in the vocabulary; the first call builds an index.

        Args:
            raw_ids: integers or strings of any shape, of the same type as the vocabulary.

        Returns:
            int64 of the same shape.

        Raises:
            TypeError: if the vocabulary holds integers and a raw id is not an integer.
            ValueError: if the artifact has no vocabulary for this table, or a raw id is not in it.
            ArtifactValueError: if the vocabulary holds a raw id twice or a string that is not UTF-8.
        """
        ids = self._index.find(raw_ids)
        if (ids < 0).any():
            unknown = np.asarray(raw_ids, dtype=object).reshape(-1)[int((ids.reshape(-1) < 0).argmax())]
            raise ValueError(f"the vocabulary of table `{self.name}` has no raw id {unknown!r}.")
        return ids

    @cached_property
    def _index(self) -> Index:
        if self.vocabulary is None:
            raise ValueError(f"table `{self.name}` has no vocabulary; look up rows by their ids 0, 1, 2, ...")
        try:
            return Index(self.vocabulary)
        except ValueError as error:
            raise ArtifactValueError(f"table `{self.name}`: {error}") from None


class Artifact(Mapping[str, Table]):
    """An open artifact: a mapping of its tables by name. Can be pickled like :class:`Table`.

    Attributes:
        path: the file.
        file_size: bytes of the file.
        tensors: the uncompressed tensors of the model by name, read only.
        model: description of the model by the writer (JSON values).
        digest: digest of the header, which holds the checksums of all arrays.
    """

    def __init__(self, opened: ArtifactFile) -> None:
        self.path: Path = opened.path
        self.file_size = opened.file_size
        self.tensors = opened.tensors
        self.model = opened.model
        self.digest: str = opened.manifest["digest"]
        self._opened: ArtifactFile | None = opened
        self._origin = Origin(Path(os.path.realpath(opened.path)), opened.manifest["digest"])
        self._tables = {
            name: Table(name, packed, opened.vocabularies.get(name), self._origin)
            for name, packed in opened.tables.items()
        }

    def __reduce__(self) -> tuple[Any, ...]:
        self._file()
        return Origin.open, (self._origin,)

    def __getitem__(self, name: str) -> Table:
        self._file()
        if name not in self._tables:
            raise KeyError(f"{self.path} has no table {name!r}; it has {sorted(self._tables)}")
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __repr__(self) -> str:
        tables = "".join(f"\n  {table!r}" for table in self._tables.values())
        return f"Artifact({str(self.path)!r}, {self.file_size:,} bytes){tables}"

    def verify(self) -> None:
        """Check every byte and every value.

        Raises:
            ArtifactError: if one has changed.
        """
        verify_opened(self._file())

    def close(self) -> None:
        """Close the file; tables that are still in use keep it open."""
        self._opened = None
        self._tables = {}
        self.tensors = {}

    def __enter__(self) -> Artifact:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _file(self) -> ArtifactFile:
        if self._opened is None:
            raise ValueError(f"{self.path} was closed; open it again with open_artifact.")
        return self._opened


def open_artifact(path: str | os.PathLike[str], *, verify: bool = False) -> Artifact:
    """Open an artifact for lookups; its arrays are mapped from the file, not read.

    Args:
        path: the file.
        verify: True to check every byte against its checksum.

    Returns:
        The tables by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it cannot be trusted; the message says why.
    """
    return Artifact(verify_artifact(path) if verify else read_artifact(path))
