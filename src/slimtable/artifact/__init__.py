"""The packed form of tables: layouts, bit streams and the file. Imports only numpy; numba is imported on first use."""

from slimtable.artifact.file import ArtifactFile, read_artifact, verify_artifact, write_artifact
from slimtable.artifact.layouts import LAYOUTS, Decoder, decode, decode_bag, exact_bits, validate
from slimtable.artifact.packed import Packed

__all__ = [
    "LAYOUTS",
    "ArtifactFile",
    "Decoder",
    "Packed",
    "decode",
    "decode_bag",
    "exact_bits",
    "read_artifact",
    "validate",
    "verify_artifact",
    "write_artifact",
]
