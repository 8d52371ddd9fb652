"""The error classes.

Bad arguments raise the built-in ``ValueError``, ``TypeError`` or ``IndexError``; all other errors are one of these::

    SlimtableError
    ├── DatasetError            a dataset is missing, malformed or empty
    │   └── DatasetNotFoundError    it does not exist; the message says how to get it
    ├── CheckpointError         a run folder cannot be continued
    ├── BudgetError             a budget cannot be met; the message says what is possible
    └── ArtifactError           a file cannot be trusted
        ├── ArtifactFormatError     its structure is invalid, or it is truncated
        ├── ArtifactVersionError    it was written by a newer format
        ├── ArtifactValueError      its structure is valid, but a value is not (a code out of range, a NaN scale)
        └── ArtifactChecksumError   its bytes have changed

The command line prints errors as one line and exits with 2.
"""

from __future__ import annotations


class SlimtableError(Exception):
    """Base of every error raised by slimtable itself."""


class DatasetError(SlimtableError):
    """A dataset is missing, malformed or empty."""


class DatasetNotFoundError(DatasetError):
    """A dataset does not exist; the message says where to get it and where to put it."""


class CheckpointError(SlimtableError):
    """A run folder cannot be continued as asked."""


class BudgetError(SlimtableError):
    """A budget cannot be met; the message says what is possible."""


class ArtifactError(SlimtableError):
    """An artifact file cannot be trusted."""


class ArtifactFormatError(ArtifactError):
    """The structure of the file is invalid, or the file is truncated."""


class ArtifactVersionError(ArtifactError):
    """The file was written by a newer format than this reader knows."""


class ArtifactValueError(ArtifactError):
    """The structure is valid but a value is not, such as a code out of range or a scale that is not finite."""


class ArtifactChecksumError(ArtifactError):
    """The bytes of the file have changed."""
