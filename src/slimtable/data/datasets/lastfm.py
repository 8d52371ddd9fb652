"""Last.fm artists by listener in the split of LightGCN: real data small enough for quick tests."""

from __future__ import annotations

from pathlib import Path

from slimtable.data.datasets.source import InteractionSource, RemoteFile, check_counts, holds
from slimtable.data.interactions.formats import read_train_test
from slimtable.data.interactions.interactions import Interactions

_BASE = (
    "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/ef7aae37fc51973feabfc7e534720ea51f9eedf6/data/lastfm"
)


def _read(folder: Path) -> tuple[Interactions, Interactions]:
    train, test = read_train_test(folder, "weighted")
    check_counts(
        "lastfm",
        folder,
        users=(train.num_users, 1_880),
        items=(train.num_items, 4_489),
        training_interactions=(len(train), 42_135),
        test_interactions=(len(test), 10_533),
    )
    return train, test


SOURCE = InteractionSource(
    name="lastfm",
    about="Last.fm listening counts: 1,880 users, 4,489 artists, a fixed split",
    licence="research use, non-commercial (Last.fm, HetRec 2011)",
    url="https://grouplens.org/datasets/hetrec-2011/",
    rows=42_135 + 10_533,
    read=_read,
    present=holds("train.txt", "test.txt"),
    files=(
        RemoteFile(
            url=f"{_BASE}/data1.txt",
            path="train.txt",
            checksum="sha256:c82af3228cbbda2f55a39244de09ed93292894f1d0d9f1908ebb57e27598fded",
        ),
        RemoteFile(
            url=f"{_BASE}/test1.txt",
            path="test.txt",
            checksum="sha256:de4417c0e6123284ce59a0934bcf5288ec1ec8774a18a1eef453c9952dfa48f9",
        ),
    ),
    default_split="fixed",
)
