"""One self-contained page about a network: what it reads, what the DPU makes of it, what it costs."""

from dpuflow.report.page import write_report

__all__ = ["write_report"]
