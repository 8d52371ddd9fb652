"""What captions say of the paper's tables and figures, and of how ours were made."""

from __future__ import annotations

from studies.verdict import MARGIN_ERROR, MARGIN_POINTS

TITLES = {
    "table3": "Table 3: personalized item recommendation on MovieLens",
    "table4": "Table 4: sequential recommendation on MovieLens",
    "table5": "Table 5: item-to-item recommendation, on data that stands in",
    "table6": "Table 6: variants of MGQE on MovieLens",
    "figure4": "Figure 4: distribution of the data",
    "figure6": "Figure 6: quality against size",
    "figure7": "Figure 7: training loss of MGQE and of full tables",
    "figure8": "Figure 8: similarity of codes within and between genres",
    "compact": "Beyond the paper: tables of at most a tenth of the size",
}

STATEMENTS = {
    "table3": (
        "the low-rank table drops clearly, the quantized ones mostly improve on full, and MGQE is best with about 20 % "
        "of the size."
    ),
    "table4": "MGQE keeps the quality at 27.5 % of the size, while the others generally drop.",
    "table5": "SQ (our uniform) drops, DPQ and MGQE improve clearly.",
    "table6": (
        "the shared variant reaches or betters full on all models; unshared K is the runner-up, and best on NeuMF."
    ),
    "figure4": "few popular items dominate the training data, while most are rarely seen: a power law.",
    "figure6": (
        "full tables drop clearly as they get narrower; at equal size MGQE is best, and at equal quality smallest. It "
        "prints no numbers for it."
    ),
    "figure7": "training of MGQE is stable and closely follows that of full tables. It prints no numbers for it.",
    "figure8": (
        "both give films of one genre similar codes; SQ (our uniform) does not tell dissimilar films apart well, while "
        "MGQE gives them much lower similarity. It prints no numbers for it."
    ),
    "compact": "no such table; with one scalar per subspace, its sizes are 20 to 30 % of the whole model.",
}
"""In our words."""

VERDICTS = (
    "The verdict goes by the 95 % interval (Student's t) of the difference to full, paired by seed: better or worse "
    "where it leaves zero out, matches where it holds zero and no loss of "
    f"{MARGIN_POINTS:g} points of HR@10 ({100 * MARGIN_ERROR:g} % of full's RMSE) or more, else undecided. Figures are "
    "mean ± standard deviation over seeds, after the last epoch, which is fixed beforehand; best epoch is the one that "
    "the validation part prefers among those that were validated. The paper does not say which it reports."
)

COMPACT = (
    "Tables are the embedding tables alone, every bit served over that of full float32 tables; size is the whole "
    "model's. The compact preset has codes of 5, 3 and 2 bits a value for the most frequent 10 %, the next 50 % and "
    "the other 40 % of the ids, and half-precision codebooks. Its tables train as full ones do in their dense epochs "
    "(20 unless a label says otherwise), then k-means places the centroids, and epochs that are left train both."
)

STAND_IN = (
    "The paper's app-to-app relevance data (AAR) is private. The scores here are synthetic stand-ins, made from other "
    "data and judged by nobody: 100 × normalized pointwise mutual information of films that the same users watched "
    "(MovieLens-1M), and 100 × adjusted cosine of films' ratings (MovieTweetings). RMSE is NOT comparable with the "
    "paper's; only the order of the methods can be."
)

QUICK = (
    "Quick version: fewer epochs in larger steps, mostly with one seed. It shows that everything works; neither the "
    "figures nor the order of the methods are those of whole trainings."
)
