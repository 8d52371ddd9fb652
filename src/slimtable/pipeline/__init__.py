"""The periodic loop: windows of clicks in, compressed and checked versions of a model out.

Reports are written by :func:`slimtable.pipeline.report.write_report`, which imports matplotlib.
"""

from __future__ import annotations

from slimtable.pipeline.history import read_history
from slimtable.pipeline.loop import run_pipeline
from slimtable.pipeline.settings import PipelineSettings, read_settings
from slimtable.pipeline.status import pipeline_status

__all__ = ["PipelineSettings", "pipeline_status", "read_history", "read_settings", "run_pipeline"]
