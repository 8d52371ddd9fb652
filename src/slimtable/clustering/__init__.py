"""Fast clustering of vectors by how often they are used: weighted k-means on a sample, one pass over all others."""

from slimtable.clustering.fast import fast_kmeans
from slimtable.clustering.full import full_kmeans
from slimtable.clustering.result import Clustering

__all__ = ["Clustering", "fast_kmeans", "full_kmeans"]
