"""One file per way to group; a new file here is a new grouping."""
