"""Text for people: file names and messages of any encoding, on streams of any encoding. Python 2.7 and 3.5+."""
from __future__ import division, print_function


def as_text(value):
    """``value`` as unicode text; bytes (Python 2.7's file names) are read as UTF-8, never an error."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def say(stream, text):
    """Write a line; what the stream's encoding cannot express is escaped, never an error."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    line = (as_text(text) + u"\n").encode(encoding, "backslashreplace")
    stream.write(line if str is bytes else line.decode(encoding))
    stream.flush()
