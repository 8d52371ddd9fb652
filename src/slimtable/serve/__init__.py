"""Opening artifacts and looking up rows; numpy and numba only, no torch."""

from slimtable.serve.reader import Artifact, Table, open_artifact

__all__ = ["Artifact", "Table", "open_artifact"]
