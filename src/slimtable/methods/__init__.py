"""One file per method; the file stem is its registry name."""
