"""One file per click-through-rate model; the file stem is its name."""
