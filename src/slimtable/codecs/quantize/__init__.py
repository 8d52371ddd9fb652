"""Fast clustering of vectors by how often they are used: weighted k-means on a sample, one pass over all others."""

from slimtable.codecs.quantize.clustering import Clustering
from slimtable.codecs.quantize.fast_kmeans import fast_kmeans
from slimtable.codecs.quantize.full_kmeans import full_kmeans

__all__ = ["Clustering", "fast_kmeans", "full_kmeans"]
