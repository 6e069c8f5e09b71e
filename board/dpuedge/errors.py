"""One exception for everything a user can put right: what, where, got, expected, remedy."""


class DpuError(Exception):
    """A failure that a user can understand and mend.

    ``what`` says what was attempted or is wrong, ``where`` the file or node, ``got`` and
    ``expected`` both sides of a mismatch, ``remedy`` what to do next. Only ``what`` is required.
    """

    def __init__(self, what, where=None, got=None, expected=None, remedy=None):
        super(DpuError, self).__init__(what)
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.remedy = remedy

    def __str__(self):
        text = "%s: %s" % (self.where, self.what) if self.where is not None else str(self.what)
        sides = [
            "%s %s" % (label, value)
            for label, value in (("expected", self.expected), ("got", self.got))
            if value is not None
        ]
        if sides:
            text += ": " + ", ".join(sides)
        if self.remedy:
            text += ". Remedy: " + self.remedy
        return text


class ImageError(DpuError):
    """A picture that cannot be read or preprocessed."""


class ManifestError(DpuError):
    """A model manifest that is missing, damaged or does not fit its model."""


class BackendError(DpuError):
    """A DPU back end that was asked for and is not there, or that failed."""


class ElfError(DpuError):
    """A DNNDK model file that is damaged, or none."""
