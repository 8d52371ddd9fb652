"""The BACO paper, reproduced."""
