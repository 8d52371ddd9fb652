"""Codecs: trained vectors in, packed arrays out, without PyTorch."""
