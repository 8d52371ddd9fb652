"""Codecs side by side: trained tables of several models, every codec at twelve rates, and faiss at equal bytes."""
