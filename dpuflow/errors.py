"""Every failure a user can put right.

DpuError                       what, where, got, expected, remedy (``dpuedge.errors``)
├── ImageError, ManifestError, BackendError, ElfError
└── DpuflowError
    ├── ConfigError            an option or a configuration file
    ├── DataError              training or calibration data
    ├── ArtifactError          a stage's folder: missing, damaged, half-written
    ├── FormatError            a file that is not what it should be
    ├── GraphError             a network that is not well formed
    │   └── UnsupportedOp      an operator that no table knows
    ├── QuantizeError          calibration and fix positions
    ├── CompileError           what the target cannot hold or do
    ├── EngineError            an engine that is missing or not exact here
    └── PlanError              the vendor's tools: not there, not allowed, or failed
"""

from __future__ import annotations

from dpuedge.errors import BackendError, DpuError, ElfError, ImageError, ManifestError

__all__ = [
    "ArtifactError", "BackendError", "CompileError", "ConfigError", "DataError", "DpuError",
    "DpuflowError", "ElfError", "EngineError", "FormatError", "GraphError", "ImageError", "ManifestError",
    "PlanError", "QuantizeError", "UnsupportedOp",
]


class DpuflowError(DpuError):
    """The root of the host library's errors."""


class ConfigError(DpuflowError):
    """An option or a configuration file that cannot be used."""


class DataError(DpuflowError):
    """Training or calibration data that is missing or wrong."""


class ArtifactError(DpuflowError):
    """A stage's folder that is missing, damaged or incomplete."""


class FormatError(DpuflowError):
    """A file that is not what its reader expects."""


class GraphError(DpuflowError):
    """A network that is not well formed."""


class UnsupportedOp(GraphError):
    """An operator that no table knows, or a form of it that is not supported."""


class QuantizeError(DpuflowError):
    """Calibration or fix positions that cannot be determined."""


class CompileError(DpuflowError):
    """A network that the target cannot hold or run."""


class EngineError(DpuflowError):
    """An engine that is not available, or not exact on this machine."""


class PlanError(DpuflowError):
    """The vendor's tools that are missing, whose licence is not accepted, or that failed."""
