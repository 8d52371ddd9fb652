"""Fast frequency-weighted clustering: k-means on a sample, then one pass that assigns all vectors."""

from slimtable.codecs.quantize.clustering import Clustering
from slimtable.codecs.quantize.fast_kmeans import fast_kmeans
from slimtable.codecs.quantize.full_kmeans import full_kmeans

__all__ = ["Clustering", "fast_kmeans", "full_kmeans"]
