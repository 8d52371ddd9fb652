"""Amazon Beauty reviews, 5-core, each user's items in time order, as S3Rec released them."""

from __future__ import annotations

from pathlib import Path

from slimtable.data.datasets.source import InteractionSource, RemoteFile, check_counts, holds
from slimtable.data.interactions.formats import read_interactions
from slimtable.data.interactions.interactions import Interactions


def _read(folder: Path) -> tuple[Interactions, None]:
    interactions = read_interactions(folder / "beauty.txt", "sequence")
    check_counts(
        "beauty",
        folder,
        users=(interactions.num_users, 22_363),
        items=(interactions.num_items, 12_101),
        interactions=(len(interactions), 198_502),
    )
    return interactions, None


SOURCE = InteractionSource(
    name="beauty",
    about="Amazon Beauty reviews, 5-core: 22,363 users, 12,101 products, in time order",
    licence="research use; not stated by the publisher (UCSD)",
    url="https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html",
    rows=198_502,
    read=_read,
    present=holds("beauty.txt"),
    files=(
        RemoteFile(
            url=(
                "https://raw.githubusercontent.com/salesforce/ICLRec/"
                "4afb54a036ebbf4166ed5858122d89c0642251a7/data/Beauty.txt"
            ),
            path="beauty.txt",
            checksum="sha256:226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
        ),
    ),
)
