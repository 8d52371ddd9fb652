"""Gowalla check-ins in the split of NGCF and LightGCN."""

from __future__ import annotations

from pathlib import Path

from slimtable.data.datasets.source import InteractionSource, RemoteFile, check_counts, holds
from slimtable.data.interactions.formats import read_train_test
from slimtable.data.interactions.interactions import Interactions

_BASE = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/gowalla"


def _read(folder: Path) -> tuple[Interactions, Interactions]:
    train, test = read_train_test(folder, "lightgcn")
    check_counts(
        "gowalla",
        folder,
        users=(train.num_users, 29_858),
        items=(train.num_items, 40_981),
        training_interactions=(len(train), 810_128),
        test_interactions=(len(test), 217_242),
    )
    return train, test


SOURCE = InteractionSource(
    name="gowalla",
    about="Gowalla check-ins: 29,858 users, 40,981 places, the LightGCN split",
    licence="research use; not stated by the publisher (SNAP)",
    url="https://snap.stanford.edu/data/loc-gowalla.html",
    rows=810_128 + 217_242,
    read=_read,
    present=holds("train.txt", "test.txt"),
    files=(
        RemoteFile(
            url=f"{_BASE}/train.txt",
            path="train.txt",
            checksum="sha256:0f086326b28a56c2e6dcb81d86ee72d4ccb7eed3a8d26788392356d8f51111cc",
        ),
        RemoteFile(
            url=f"{_BASE}/test.txt",
            path="test.txt",
            checksum="sha256:099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
        ),
    ),
    default_split="fixed",
)
