"""What captions say of how our tables and figures were made."""

from __future__ import annotations

MEASURED = (
    "R is capped recall, hits over min(k, withheld items of the user), as the paper has it; R@20, all divides by all "
    "withheld items. R and N (NDCG) are percent, mean ± standard deviation over seeds, on the test part with the "
    "user's training and validation items left out, at the epoch with the best validation R@20. Parameters are those "
    "that are trained; MB served are our count: rows, and row maps at their packed width, without LightGCN's graph, "
    "which all have. A row stands for d trained parameters: views side by side have several narrow rows for it. The "
    "paper's count is d per row and one per second cluster of each view, without the maps."
)

PATIENCE = (
    "Patience may end a training that still improves, after a validation that was good by chance: where the best "
    "epochs of a row lie far apart, its mean is likely too low."
)

MEASURED_BRIEFLY = (
    "R is capped recall and N is NDCG, in percent, mean ± standard deviation over seeds, on the test part, at the "
    "epoch with the best validation R@20; more is said below the comparison on Beauty."
)

SIZES_MATCH = (
    "The number of rows is that of GraphHash: Louvain's communities at resolution 200, counted on each side. A seed "
    "is that of the training and of the grouping. The split is always the same: 80/10/10 of all interactions, drawn "
    "by us with seed 0; that of the paper is another. BACO has fewer rows, as if every user had a second cluster that "
    "counts as a parameter; where some have none, it stays below the others. Groupings that choose their number of "
    "rows themselves are marked: they do not compare at equal size. Where a method cannot be told the rows of each "
    "side, they are split in proportion to users and items. Ids are numbered from most to least frequent, so the "
    "remainder of the id (Random) never puts two of the most frequent ids together; the paper's numbers are arbitrary."
)

PAIRED = "Differences are paired by seed, with their 95 % interval by Student's t; a single seed gives none."

CHOSEN = (
    "The presets best and compact were chosen by looks at the test part of Beauty with seed 0 (docs/decisions/0008), "
    "so their figures on Beauty are somewhat too good; the other seeds have the same test part. Gowalla was looked at "
    "only afterwards."
)

ORDERED = (
    "A method is better where the interval "
    "lies above zero, worse where it lies below, matches where it holds zero and no loss of 0.05 points, and is else "
    "undecided."
)

WHAT_GROUPING_GIVES = (
    "What grouping before training gives and quantizing cannot: the full table never exists, so that training keeps "
    "three numbers (itself and Adam's two moments: the column training MB) for each number of the shared rows, not of "
    "a row of every id; nothing has to be trained large before it can be made small; and an id with few interactions "
    "has the row of ids like it instead of one that is hardly trained. Quantizing a trained table cuts none of the "
    "memory of its training. Narrow and low-rank tables cut it too, without the last of these. The graph of LightGCN, "
    "which all rows need, is counted in no row."
)

BY_BYTES = (
    "Widths and bits are such that tables serve about the bytes of BACO, or, further down, about a quarter of them; "
    "MGQE and the presets serve what they do. uniform is fitted to the trained full table of "
    "the same seed; MGQE and low-rank are trained as such; int8 and int4 rows are shared rows that "
    "are quantized when served, with an offset and a step per row (per view, where there are several). Preset best has "
    "int8 rows, compact int4. Narrow full tables are trained at their width."
)

QUARTERS = (
    "The users are put in order by their training interactions and cut into quarters; figures are means over the users "
    "of a quarter that have withheld items. Bars are one standard deviation over seeds. Active users have more "
    "withheld items, which changes what capped recall counts: compare methods within a quarter, not quarters. The "
    "paper has no such figure for Beauty."
)

POINTS = (
    "One seed per point, and the mean of all for full tables. Points stand at the rows that are trained. BACO's second "
    "clusters come on top: here they are not charged."
)

CLUSTER_SIZES = (
    "Groupings of the training part at matched rows, seed 0. Left: share of clusters with at least so many members of "
    "the side. Right: how many share a row with a node, by its degree, nodes without edges left out. Second clusters "
    "are not counted."
)

ABLATED = (
    "Rows with second clusters have the budget of BACO; those without have as many more rows instead as the paper "
    "would charge for a second cluster of every user. Four views, side by side and a quarter as wide each, train as "
    "many parameters, but have four second clusters for a user, so that the paper's count is larger. Nominal weights "
    "are 1/√|V| for items, where the published code has degree/√|V|; clean volumes count a node's weight on its own "
    "side alone. GraphHash's second clusters go by BACO's rule, with the resolution as γ."
)

TIMED = (
    "One thread, each grouping in a process of its own, on the training part; loading and compiling are not counted, "
    "second clusters are. Each is at matched rows where it can be; seconds to tune are those of finding the option "
    "that gives so many rows, which the others do not need. Other work on the machine shows in the times. Methods that "
    "are more than a grouping (Full, Double and Hybrid Hashing, CCE, LEGCF) have no line; that of "
    "DoubleGraphHash is GraphHash's."
)

QUICK = (
    "Quick version: a few epochs, mostly with one seed. It shows that everything works; neither the figures nor the "
    "order of the methods are those of whole trainings. Groupings that take minutes are left out."
)
