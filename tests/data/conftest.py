from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from slimtable.data import Dataset, Interactions, list_datasets, load_dataset


@pytest.fixture(scope="session")
def load_real() -> Callable[[str], Dataset]:
    """Load real data from SLIMTABLE_DATA, or from ../shared/data beside the checkout; skip where absent."""
    root = os.environ.get("SLIMTABLE_DATA") or Path(__file__).parents[2].parent / "shared" / "data"

    def load(name: str) -> Dataset:
        present = {info.name for info in list_datasets(root) if info.present}
        if name not in present:
            pytest.skip(f"real dataset {name} is not in {root}; set SLIMTABLE_DATA to the folder that holds it")
        return load_dataset(name, data_root=root, download=False)

    return load


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a text file, under a name that says nothing about its format."""

    def write(text: str | bytes, name: str = "data.bin") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def triples(data: Interactions) -> list[tuple]:
    """Rows as (raw user, raw item), which do not depend on how ids are numbered."""
    return list(
        zip(
            data.user_vocabulary[data.users].tolist(),
            data.item_vocabulary[data.items].tolist(),
            strict=True,
        )
    )


@pytest.fixture
def raw() -> Callable[[Interactions], list[tuple]]:
    return triples


@pytest.fixture
def tiny() -> Interactions:
    """Three users in time order: one with four rows, one with three, one with two."""
    users = np.array([10, 20, 10, 30, 20, 10, 20, 30, 10])
    items = np.array([1, 2, 2, 3, 3, 3, 4, 1, 4])
    return Interactions.from_raw(users, items, times=np.arange(100, 109))


@dataclass
class Server:
    """A file server on this machine that can be told to misbehave."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)  # the Range header of each request
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    ignore_ranges: bool = False
    status: int | None = None  # answer everything with this


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            told.ranges.append(wanted)
            body = told.files.get(self.path.lstrip("/"))
            if told.status or body is None:
                self.send_error(told.status or 404)
                return
            start = 0
            if wanted and not told.ignore_ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            sent = told.cut_after.pop(0) if told.cut_after else len(body)
            self.wfile.write(body[start : start + sent])

        def log_message(self, *arguments: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Server(f"http://127.0.0.1:{httpd.server_address[1]}")
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield told
    httpd.shutdown()
    httpd.server_close()
    thread.join()
