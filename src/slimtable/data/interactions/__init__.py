"""Interactions of users with items: readers, filters and splits."""
