"""What the BACO paper reports, to stand beside our figures.

Jiang, Yang and Wu 2026, "BACO: balanced co-clustering of users and items for embedding-table compression" (SIGIR 2026,
arXiv 2604.18351), supplement: Table 8 and Figures 5 and 6; LightGCN, rows of 64. The figures are in ``published.json``.
"""

from __future__ import annotations

from pathlib import Path

from slimtable.bench.published import Published

PUBLISHED = Published.read(Path(__file__).with_name("published.json"))

COMPARISON = {name: PUBLISHED.table(data=name, backbone="lightgcn", embedding_dim=64) for name in ("beauty", "gowalla")}
"""Table 8, by data: recall and NDCG at 10 and at 50, in percent; the recall is capped."""

QUARTILES = PUBLISHED.table(figure="5")
"""Figure 5, Gowalla: capped R@20 by quarter of the users, least active in training first; read off, ± 0.1."""

SIZES = PUBLISHED.table(figure="6")
"""Figure 6, Gowalla: R@20 and NDCG@20 at each γ, GraphHash at matched sizes; read off, ± 0.05.

Sizes span about a tenth to a fifth of full.
"""
