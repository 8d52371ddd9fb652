"""What the MGQE paper reports, to stand beside our figures.

Kang et al. 2020, "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features in Recommender
Systems" (arXiv 2002.08530), Tables 3, 4, 5 and 6: all tables 64 wide. The figures are in ``published.json``, which
``slimtable bench --published`` reads too.
"""

from __future__ import annotations

from pathlib import Path

from slimtable.bench.published import Published

PUBLISHED = Published.read(Path(__file__).with_name("published.json"))

UNSHARED_K = "mgqe[share_codebook=false]"
UNSHARED_D = "mgqe[codebook_sizes=[256,256];num_codebooks=[64,32];share_codebook=false]"

RANKING = {name: PUBLISHED.table(data="ml-1m", backbone=name, embedding_dim=64) for name in ("gmf", "neumf", "sasrec")}
"""Tables 3, 4 and 6: model, then method and non-default options."""

REGRESSION = PUBLISHED.table(table="5")
"""Table 5, on app-to-app relevance data that is private: nothing of ours compares with it."""
