"""The Saec paper, reproduced."""
