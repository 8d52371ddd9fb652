"""Conversion of files to plain UTF-8 text: decompression, encodings, line ends."""

from __future__ import annotations

import codecs
import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimtable.errors import DatasetError

_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PIECE = 1 << 20


@contextmanager
def plain_text(path: Path, encoding: str | None = None) -> Iterator[Path]:
    r"""Yields the file itself if it is plain UTF-8 text or Parquet, else a temporary converted copy.

    Gzip and zstd are recognised by their first bytes, UTF-16 by its BOM. Lines may end in ``\r``. Errors raised in the
    block name the original file.

    Args:
        path: the file.
        encoding: encoding of the text, such as "latin-1"; None for UTF-8, or UTF-16 with a BOM.

    Yields:
        A path to read from.

    Raises:
        DatasetError: the file is a zip archive, is damaged, or is not text in that encoding; the message names the
            line.
        ValueError: the encoding is unknown.
    """
    with path.open("rb") as file:
        head = file.read(_PIECE)
    if head.startswith(_ZIP):
        raise DatasetError(f"{path} is a zip archive. Unpack it, and use the file in it.")
    compressed = head.startswith((_GZIP, _ZSTD))
    plain = b"\r" not in head or b"\n" in head or head.startswith(b"PAR1")
    if plain and not compressed and not encoding and not head.startswith(_UTF_16):
        yield path
        return
    content = _unpacked(path, head) if compressed else path.read_bytes()
    text = _decoded(path, content, encoding)
    handle, name = tempfile.mkstemp(prefix="slimtable-", suffix=".txt")
    try:
        with os.fdopen(handle, "wb") as copy:
            copy.write(text if b"\n" in text else text.replace(b"\r", b"\n"))
        try:
            yield Path(name)
        except DatasetError as error:
            raise type(error)(str(error).replace(name, str(path))) from error
    finally:
        Path(name).unlink(missing_ok=True)


def check_utf8(path: Path) -> None:
    """Raises DatasetError with the first line that is not UTF-8 or holds a NUL byte, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while piece := file.read(_PIECE):
                decoder.decode(piece)
                if b"\0" in piece:
                    break
            else:
                decoder.decode(b"", final=True)
                return
        except UnicodeDecodeError:
            pass
        file.seek(0)
        for line, content in enumerate(file, start=1):
            if b"\0" in content:
                raise DatasetError(f"{path}, line {line:,}: a NUL byte, so this is not text. Convert it to text.")
            try:
                content.decode()
            except UnicodeDecodeError as error:
                raise DatasetError(
                    f"{path}, line {line:,}: byte 0x{content[error.start]:02x} is not UTF-8. State the encoding: "
                    "encoding='latin-1', or --encoding latin-1."
                ) from error


def _unpacked(path: Path, head: bytes) -> bytes:
    try:
        if head.startswith(_GZIP):
            return gzip.decompress(path.read_bytes())
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as stream:
            return bytes(stream.read())
    except (OSError, EOFError, ImportError) as error:
        raise DatasetError(f"{path} cannot be decompressed: {str(error)[:80]}") from error


def _decoded(path: Path, content: bytes, encoding: str | None) -> bytes:
    """The text in UTF-8."""
    if encoding is None:
        if not content.startswith(_UTF_16):
            return content
        encoding = "utf-16"
    try:
        codecs.lookup(encoding)
        return content.decode(encoding).encode()
    except LookupError:
        raise ValueError(f"There is no encoding {encoding[:40]!r}. Use one such as utf-8, latin-1 or cp1252.") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DatasetError(f"{path}, line {line:,}: not {encoding}, {error.reason}. Try another encoding.") from error
