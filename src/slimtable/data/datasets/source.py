"""Datasets of interactions, and the sources of named ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import DatasetError


@dataclass(frozen=True)
class Dataset:
    """Interactions with a name and an origin.

    Attributes:
        name: its name, or the path it was read from.
        interactions: all rows, or the training rows if there is a `fixed_test`.
        fixed_test: the test rows of a published split, with the same vocabularies; or None.
        default_split: its split in the literature; see :func:`slimtable.data.interactions.split.split`.
        about: a one-line description.
        licence: its terms of use.
        url: where it comes from.
        fixed_valid: the validation rows of a published split, or None.
    """

    name: str
    interactions: Interactions
    fixed_test: Interactions | None = None
    default_split: str = "leave-two-out"
    about: str = ""
    licence: str = ""
    url: str = ""
    fixed_valid: Interactions | None = None


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded without a login.

    Attributes:
        url: its URL.
        path: its path in the folder of the dataset.
        checksum: ``"sha256:…"`` or ``"md5:…"`` of its bytes; None for a file that still changes upstream.
    """

    url: str
    path: str
    checksum: str | None


class Fetchable(Protocol):
    """The attributes needed to fetch a dataset, as in :class:`InteractionSource`."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def present(self) -> Callable[[Path], bool]: ...
    @property
    def files(self) -> tuple[RemoteFile, ...]: ...
    @property
    def unpack(self) -> Callable[[Path], None] | None: ...


@dataclass(frozen=True)
class InteractionSource:
    """The source of a named dataset: how to fetch, read and check it.

    Attributes:
        name: name of the dataset.
        about: a one-line description.
        licence: its terms of use.
        url: the page about it.
        rows: its documented number of rows, test rows included; None if it may grow.
        read: function from its folder to ``(interactions, fixed_test or None)``.
        present: tests if a folder holds what `read` needs.
        files: files to download; empty if this needs a login.
        unpack: called with the folder after the download.
        default_split: its split in the literature.
        folder: its folder in the data root; None: its name. A derived dataset uses the folder of its origin.
    """

    name: str
    about: str
    licence: str
    url: str
    rows: int | None
    read: Callable[[Path], tuple[Interactions, Interactions | None]]
    present: Callable[[Path], bool]
    files: tuple[RemoteFile, ...]
    unpack: Callable[[Path], None] | None = None
    default_split: str = "leave-two-out"
    folder: str | None = None

    kind: ClassVar[str] = "interactions"


@dataclass(frozen=True)
class GeneratedSource:
    """The source of a dataset that is generated: it has no files, and ``NAME:SIZE`` sets its size.

    Attributes:
        name: name of the dataset.
        kind: "interactions" for rankers, or "clicks" for CTR models.
        about: a one-line description.
        make: function from its options to the dataset.
        size: the option that ``NAME:SIZE`` sets.
        licence: its terms of use.
        url: the page about it.
    """

    name: str
    kind: Literal["interactions", "clicks"]
    about: str
    make: Callable[..., Any]
    size: str
    licence: str = "Apache-2.0"
    url: str = ""

    rows: ClassVar[None] = None
    files: ClassVar[tuple[RemoteFile, ...]] = ()

    def load(self, name: str, options: dict[str, Any], *common: str) -> Any:
        """Generates the dataset.

        Args:
            name: ``NAME`` or ``NAME:SIZE``.
            options: options of ``make``.
            *common: other options that every dataset of this kind takes, for the message.

        Raises:
            DatasetError: the size is not a number.
            TypeError: there is no such option, or the size is given twice.
        """
        _, colon, size = name.partition(":")
        if colon:
            digits = size.replace("_", "")
            if not (digits.isascii() and digits.isdecimal()):
                raise DatasetError(f"unknown size {size!r} in {name!r}. Write a number, such as {self.name}:1000000.")
            if self.size in options:
                raise TypeError(f"`{self.size}` is given twice: in {name!r} and as an option.")
            options = {self.size: int(digits), **options}
        known = list(inspect.signature(self.make).parameters)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise TypeError(
                f"dataset {name!r} takes no {', '.join(unknown)}; its options: {', '.join([*known, *common])}."
            )
        return self.make(**options)


def holds(*names: str) -> Callable[[Path], bool]:
    """Returns a test for the presence of all of these files in a folder."""
    return lambda folder: all((folder / name).is_file() for name in names)


def check_counts(name: str, folder: Path, **counts: tuple[int, int]) -> None:
    """Compare counts with the documented ones.

    Args:
        name: the dataset.
        folder: where it was read from.
        **counts: ``(read, documented)`` of each quantity.

    Raises:
        DatasetError: if any differs.
    """
    wrong = [f"{got:,} {what} instead of {want:,}" for what, (got, want) in counts.items() if got != want]
    if wrong:
        raise DatasetError(
            f"{folder} does not hold the documented {name} data: {', '.join(wrong)}. Fetch it again, "
            "or read your own version of it by its path."
        )
