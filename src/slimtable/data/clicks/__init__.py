"""Click logs: fields and labels, read in chunks."""
