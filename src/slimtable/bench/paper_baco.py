"""What the BACO paper reports, to stand beside our figures.

Jiang, Yang and Wu 2026, "BACO: balanced co-clustering of users and items for embedding-table compression" (SIGIR 2026,
arXiv 2604.18351), supplement: Table 8 and Figures 5 and 6; LightGCN, rows of 64.
"""

from __future__ import annotations

SOURCE = "Jiang et al. 2026, arXiv 2604.18351, supplement, Table 8"

COMPARISON: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "beauty": {
        "Full": (7.619, 4.814, 16.343, 6.998),
        "Random": (3.054, 1.874, 7.555, 3.009),
        "Frequency Hashing": (2.926, 1.763, 7.637, 2.945),
        "Double Hashing": (2.872, 1.717, 7.035, 2.779),
        "Hybrid Hashing": (3.028, 1.786, 7.704, 2.976),
        "LSH": (3.613, 2.179, 8.720, 3.470),
        "CCE": (4.953, 2.993, 11.478, 4.629),
        "LEGCF": (4.989, 2.914, 12.391, 4.754),
        "GraphHash": (5.776, 3.579, 12.294, 5.224),
        "DoubleGraphHash": (3.883, 2.439, 9.307, 3.826),
        "LP": (5.465, 3.415, 12.162, 5.094),
        "Leiden": (5.540, 3.446, 12.165, 5.108),
        "EBMD": (5.443, 3.290, 11.961, 4.949),
        "infomap": (2.922, 1.767, 7.521, 2.893),
        "BiMLPA": (2.293, 1.295, 6.806, 2.381),
        "BRIM": (5.418, 3.236, 12.875, 5.082),
        "SCC": (5.920, 3.640, 13.072, 5.456),
        "SBC": (4.360, 2.630, 10.506, 4.192),
        "ITCC": (3.096, 1.925, 7.648, 3.090),
        "BACO": (6.308, 3.733, 14.036, 5.643),
    },
    "gowalla": {
        "Full": (12.917, 9.837, 29.010, 14.538),
        "Random": (6.368, 5.015, 15.097, 7.588),
        "Frequency Hashing": (5.852, 4.597, 14.331, 7.108),
        "Double Hashing": (6.491, 5.133, 15.172, 7.705),
        "Hybrid Hashing": (6.901, 5.451, 16.061, 8.151),
        "LSH": (6.481, 5.191, 14.244, 7.511),
        "CCE": (7.391, 5.844, 16.710, 8.586),
        "LEGCF": (5.413, 4.046, 13.230, 6.319),
        "GraphHash": (10.672, 8.074, 24.442, 12.112),
        "DoubleGraphHash": (8.711, 6.720, 19.949, 10.007),
        "LP": (8.026, 6.253, 19.144, 9.481),
        "Leiden": (10.753, 8.203, 24.245, 12.152),
        "EBMD": (7.061, 5.501, 16.816, 8.352),
        "infomap": (4.085, 2.997, 9.511, 4.556),
        "BiMLPA": (4.423, 3.262, 10.430, 4.986),
        "BRIM": (5.595, 4.378, 12.935, 6.518),
        "SCC": (9.667, 7.467, 21.880, 11.016),
        "SBC": (7.220, 5.665, 17.084, 8.522),
        "ITCC": (5.461, 4.419, 12.163, 6.439),
        "BACO": (11.701, 9.052, 26.429, 13.344),
    },
}
"""Table 8: recall and NDCG at 10, then at 50, in percent; the recall is capped."""

QUARTILES: dict[str, tuple[float, float, float, float]] = {
    "GraphHash": (17.0, 16.8, 15.6, 12.7),
    "Leiden": (17.3, 16.4, 15.6, 12.9),
    "BACO": (18.9, 17.8, 16.9, 13.9),
    "Full": (21.0, 19.5, 18.4, 14.6),
}
"""Figure 5, Gowalla: capped R@20 by quarter of the users, least active in training first; read off, ± 0.1."""

SIZES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "BACO": (
        (16.27, 16.31, 16.57, 16.58, 16.67, 16.74, 16.86),
        (10.46, 10.61, 10.70, 10.69, 10.70, 10.71, 10.74),
    ),
    "GraphHash": (
        (15.61, 15.47, 15.50, 15.52, 15.61, 15.13, 15.33),
        (9.85, 9.85, 9.81, 9.74, 9.73, 9.50, 9.56),
    ),
}
"""Figure 6, Gowalla: R@20 and NDCG@20 at each of :data:`GAMMAS`, GraphHash at matched sizes; read off, ± 0.05."""

GAMMAS = (4, 5, 6, 7, 8, 9, 10)
"""γ of the points of Figure 6; sizes span about a tenth to a fifth of full."""
