"""How long the parts of many runs took: percentiles, and pictures a second. Python 2.7 and 3.5+."""
from __future__ import division, print_function

from collections import namedtuple

SHARES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
COLUMNS = ("pre", "run", "post", "total")
DEFINITIONS = (
    "pre: read, preprocess, to int8; run: the back end alone; post: the layers behind it, probabilities, decoding; "
    "total: their sum; wall: from the first picture's start to the last one's end, all threads; milliseconds")


class Profile(namedtuple("Profile", "times wall_s warmup")):
    """``times``: :class:`session.Times` of every picture; ``warmup``: runs before the first, not counted."""

    __slots__ = ()

    def rows(self):
        """(name, {p50, p95, p99, mean}) of each column."""
        columns = list(zip(*self.times))
        columns.append([sum(times) for times in self.times])
        return [(name, dict([(share, percentile(column, part)) for share, part in SHARES],
                            mean=sum(column) / len(column))) for name, column in zip(COLUMNS, columns)]

    def per_second(self):
        """Pictures a second over the whole time, all threads."""
        return len(self.times) / self.wall_s if self.wall_s > 0 else 0.0


def percentile(values, share):
    """The smallest value that at least this share of the values does not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile([4.0, 1.0, 3.0, 2.0], 0.95), percentile([7.0], 0.99)
    (2.0, 4.0, 7.0)
    """
    ordered = sorted(values)
    rank = int(len(ordered) * share)
    return ordered[min(max(rank - (rank == len(ordered) * share), 0), len(ordered) - 1)]


def as_json(profile, mode):
    """The profile as JSON values; ``mode`` says what ran."""
    return {"definitions": DEFINITIONS, "mode": mode, "pictures": len(profile.times), "warmup": profile.warmup,
            "wall_s": profile.wall_s, "per_second": profile.per_second(),
            "ms": dict((name, row) for name, row in profile.rows())}


def lines(profile, mode):
    """The profile as a table."""
    heads = [share for share, _ in SHARES] + ["mean"]
    made = ["", "profile of %d pictures after %d warm-up runs (%s)" % (len(profile.times), profile.warmup, mode),
            "%-6s %s" % ("ms", " ".join("%9s" % head for head in heads))]
    made += ["%-6s %s" % (name, " ".join("%9.3f" % row[head] for head in heads)) for name, row in profile.rows()]
    return made + ["%.1f pictures a second over %.3f s" % (profile.per_second(), profile.wall_s), DEFINITIONS]
