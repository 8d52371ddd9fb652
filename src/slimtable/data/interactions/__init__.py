"""Interactions: who chose what, read, filtered and split."""
