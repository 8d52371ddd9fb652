"""One file per grouping algorithm; a new file here registers a new one."""
