"""One self-contained page about a network: what it reads, what the DPU makes of it, what it costs."""

from dpuflow.report.page import shown_beside, write_report

__all__ = ["shown_beside", "write_report"]
