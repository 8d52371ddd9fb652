"""One recommender per file; the file stem is its registry name."""
