"""Reports: one HTML page about a finished clustering, readable offline."""

from __future__ import annotations

from hadis_lightly.report.page import write_report
from hadis_lightly.report.report_data import ReportData

__all__ = ["ReportData", "write_report"]
