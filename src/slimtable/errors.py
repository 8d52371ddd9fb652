"""Every error that is ours.

Bad arguments raise the built-in ``ValueError``, ``TypeError`` or ``IndexError``; all else raises one of these::

    SlimtableError
    ├── DatasetError            a dataset is missing, malformed or empty
    │   └── DatasetNotFoundError    it is not there; the message says how to get it
    ├── CheckpointError         a run folder cannot be continued
    ├── BudgetError             no way to meet a budget; the message says what is possible
    └── ArtifactError           a file cannot be trusted
        ├── ArtifactFormatError     its structure is not ours, or is cut short
        ├── ArtifactVersionError    it was written by a newer format
        ├── ArtifactValueError      its structure is right, its values are not (a code out of range, a NaN scale)
        └── ArtifactChecksumError   its bytes are not those that were written

The command line prints any of them, and bad arguments, as one line and exits with 2.
"""

from __future__ import annotations


class SlimtableError(Exception):
    """Base of every error raised by slimtable itself."""


class DatasetError(SlimtableError):
    """A dataset is missing, malformed or empty."""


class DatasetNotFoundError(DatasetError):
    """A dataset is not there; the message says where to get it and where to put it."""


class CheckpointError(SlimtableError):
    """A run folder cannot be continued as asked."""


class BudgetError(SlimtableError):
    """A budget cannot be met; the message says what is possible."""


class ArtifactError(SlimtableError):
    """An artifact file cannot be trusted."""


class ArtifactFormatError(ArtifactError):
    """The structure of the file is not an artifact's, or the file is cut short."""


class ArtifactVersionError(ArtifactError):
    """The file was written by a newer format than this reader knows."""


class ArtifactValueError(ArtifactError):
    """The structure is right but a value is not, such as a code out of range or a scale that is not finite."""


class ArtifactChecksumError(ArtifactError):
    """The bytes of the file are not those that were written."""
