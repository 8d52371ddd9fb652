"""Codes, codebooks and raw ids of compressed tables in the files of other programs."""

from slimtable.export.formats import EXPORTERS, export_table

__all__ = ["EXPORTERS", "export_table"]
