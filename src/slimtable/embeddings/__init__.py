"""Compressed embeddings: the base class, its registry and the parts that methods share."""
