from typing import Any

class DpuError(Exception):
    what: str
    where: object
    got: object
    expected: object
    remedy: str | None
    def __init__(self, what: str, where: Any = ..., got: Any = ..., expected: Any = ...,
                 remedy: str | None = ...) -> None: ...

class ImageError(DpuError): ...
class ManifestError(DpuError): ...
class BackendError(DpuError): ...
