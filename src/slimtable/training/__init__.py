"""Training, evaluation, run folders and packing."""
