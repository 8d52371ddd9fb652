"""Downloads with resume and checksum, visible under their final name only when complete."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from slimtable.errors import DatasetError, DatasetNotFoundError

_BLOCK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 60
_ATTEMPTS = 3


def download(url: str, path: Path, *, checksum: str | None = None, quiet: bool | None = None) -> Path:
    """Fetch one file.

    Bytes are collected in ``<path>.part``. A broken connection is resumed in this call or the next one; a file without
    a checksum always starts again, since a change upstream would go unnoticed.

    Args:
        url: an http or https address.
        path: path of the file; it appears only when complete.
        checksum: ``"sha256:…"`` or ``"md5:…"`` of the whole file; None: not checked.
        quiet: no progress bar. None: a bar only if stderr is a terminal.

    Returns:
        `path`.

    Raises:
        DatasetNotFoundError: if the server has no such file.
        DatasetError: if it cannot be reached, breaks off again and again, or sends other bytes than expected.
        ValueError: if `url` or `checksum` is not of a known kind.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"`url` must be an http or https address, got {url!r}.")
    algorithm, _, expected = (checksum or "sha256:").partition(":")
    if algorithm not in ("sha256", "md5"):
        raise ValueError(f"`checksum` must begin with sha256: or md5:, got {checksum!r}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"cannot make the folder {path.parent}: {error.strerror}. Choose another one.") from error
    part = path.with_name(f"{path.name}.part")
    if checksum is None:
        part.unlink(missing_ok=True)
    _fetch_to(url, part, quiet=not sys.stderr.isatty() if quiet is None else quiet)
    if checksum is not None:
        with part.open("rb") as file:
            got = hashlib.file_digest(file, algorithm).hexdigest()
        if got != expected.lower():
            part.unlink()
            raise DatasetError(
                f"{url} does not have the expected {algorithm} checksum ({got} instead of {expected}). "
                "The download was deleted. Try again, or see whether the publisher changed the file."
            )
    os.replace(part, path)
    return path


def _fetch_to(url: str, part: Path, quiet: bool) -> None:
    """Download into `part`, resuming after a broken connection."""
    reason = ""
    for _ in range(_ATTEMPTS):
        done = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"User-Agent": "slimtable"})
        if done:
            request.add_header("Range", f"bytes={done}-")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
                length = response.headers.get("Content-Length")
                total = None if length is None else int(length) + done * resumed
                with part.open("ab" if resumed else "wb") as file:
                    arrived = _copy(response, file, url, done * resumed, total, quiet)
            if total is None or arrived == total:
                return
            reason = f"the connection broke off after {arrived:,} of {total:,} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if error.headers.get("Content-Range") == f"bytes */{done}":
                    return  # already complete: only the check and the rename are left
                part.unlink()
                reason = "the partial file is longer than the file"
                continue
            if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
                raise DatasetNotFoundError(f"{url} is not there (HTTP {error.code}). Ask its publisher.") from error
            reason = f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
    raise DatasetError(f"cannot download {url}: {reason}. Run the same command again to continue.")


def _copy(
    response: http.client.HTTPResponse, file: BinaryIO, url: str, done: int, total: int | None, quiet: bool
) -> int:
    """Append the response to the file, flushed to the disk; returns the file's bytes so far."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(url.rsplit("/", 1)[-1], total=total, completed=done)
        try:
            while block := response.read(_BLOCK_BYTES):
                file.write(block)
                done += len(block)
                progress.update(task, completed=done)
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            done += len(error.partial)
    file.flush()
    os.fsync(file.fileno())
    return done
