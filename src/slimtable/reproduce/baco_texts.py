"""What captions say of the BACO paper's tables and figures, and of how ours were made."""

from __future__ import annotations

TITLES = {
    "beauty": "Ways to share rows, compared on Amazon Beauty",
    "small_start": "The same from a small start",
    "gowalla": "Ways to share rows, compared on Gowalla",
    "equal_bytes": "Sharing rows against quantizing them, at equal bytes served",
    "quartiles": "Recall by how active users are in training",
    "sizes": "Quality against the number of rows",
    "clusters": "Sizes of clusters",
    "ablations": "What each part of BACO gives",
    "timing": "Seconds of all groupings",
}

STATEMENTS = {
    "beauty": (
        "at less than a quarter of the rows, BACO loses 1.3 points of R@10 (17 % of it), GraphHash 1.8 and random "
        "hashing 4.6; SCC comes next to BACO."
    ),
    "small_start": "its rows are drawn from N(0, 1); it does not look at other starts.",
    "gowalla": "BACO loses 1.2 points of R@10 (9 % of it), GraphHash 2.2, Leiden 2.2 and random hashing 6.5.",
    "equal_bytes": "no such table; quantization is not compared.",
    "quartiles": "BACO is above GraphHash and Leiden for users of every activity, and below full.",
    "sizes": "BACO is above GraphHash at every size, and gains with more rows.",
    "clusters": (
        "BACO's clusters differ more in size than those of GraphHash and Leiden: nodes of low degree stand in large "
        "clusters, those of high degree in tiny ones."
    ),
    "ablations": (
        "second clusters bring the users' rows nearer to those of full tables; it prints distances of embeddings, no "
        "recall."
    ),
    "timing": (
        "BACO is up to 346 times as fast as the strongest baselines; its table of seconds was not to be had, and the "
        "baseline that is meant is most likely SCC."
    ),
}
"""In our words."""

MEASURED = (
    "R is capped recall, hits over min(k, withheld items of the user), as the paper has it; R@20, all divides by all "
    "withheld items. R and N (NDCG) are percent, mean ± standard deviation over seeds, on the test part with the "
    "user's training and validation items left out, at the epoch with the best validation R@20. Parameters are those "
    "that are trained; MB served are our count: rows, and row maps at their packed width, without LightGCN's graph, "
    "which all have. The paper's count is 64 per row and one per second cluster, without the maps."
)

SIZES_MATCH = (
    "The number of rows is that of GraphHash: Louvain's communities at resolution 200, counted on each side. A seed is "
    "that of the training and of the grouping; the split is always the same. BACO has fewer rows, since each user's "
    "second cluster counts as a parameter. Groupings that choose their number of rows themselves are marked: they do "
    "not compare at equal size. Where a method cannot be told the rows of each side, they are split in proportion to "
    "users and items. Ids are numbered from most to least frequent, so the remainder of the id (Random) never puts two "
    "of the most frequent ids together; the paper's numbers are arbitrary."
)

ORDERED = (
    "Differences are paired by seed, with their 95 % interval by Student's t. A method is better where the interval "
    "lies above zero, worse where it lies below, matches where it holds zero and no loss of 0.05 points, and is else "
    "undecided."
)

WHAT_GROUPING_GIVES = (
    "What only grouping before training gives: the full table never exists, so that training keeps three numbers for "
    "each shared row instead of for each id (the column training MB: parameters and Adam's two moments); nothing has "
    "to be warmed up before it can be made small; and an id with few interactions gets the row of ids like it instead "
    "of one that is hardly trained. Quantizing a trained table cuts none of the memory of its training. The graph of "
    "LightGCN, which all rows need, is counted in no row."
)

BY_BYTES = (
    "The upper sizes are those of BACO, the lower ones a quarter of it. uniform is fitted to the trained full table of "
    "the same seed; MGQE and low-rank are trained as such; int8 and int4 rows are shared rows that "
    "are quantized when served, with an offset and a step per row. Narrow full tables are trained at their width."
)

QUARTERS = (
    "The users are put in order by their training interactions and cut into quarters; figures are means over the users "
    "of a quarter that have withheld items. Bars are one standard deviation over seeds. Capped recall falls with the "
    "number of withheld items of a user, so quarters differ for that reason too."
)

CLUSTER_SIZES = (
    "Groupings of the training part at matched rows, seed 0. Left: share of clusters with at least so many members of "
    "the side. Right: how many share a row with a node, by its degree. Users of the second clusters are not counted."
)

ABLATED = (
    "Every row has the parameters of BACO by the paper's count: those without second clusters have more rows instead. "
    "Nominal weights are 1/√|V| for items, where the published code has degree/√|V|; clean volumes count a node's "
    "weight on its own side alone. GraphHash's second clusters go by BACO's rule, with the resolution as γ."
)

TIMED = (
    "One thread, each grouping in a process of its own, on the training part; loading and compiling are not counted, "
    "second clusters are. Each is at matched rows where it can be; seconds to tune are those of finding the option "
    "that gives so many rows, which the others do not need. Other work on the machine shows in the times."
)

QUICK = (
    "Quick version: a few epochs, mostly with one seed. It shows that everything works; neither the figures nor the "
    "order of the methods are those of whole trainings. Groupings that take minutes are left out."
)
