"""Run commands in the test's process."""

from __future__ import annotations

from dpuflow import cli


def run(*argv: object, main=cli.main) -> int:
    return main([str(argument) for argument in argv])


def failure(capsys, *argv: object, main=cli.main) -> str:
    """The one line that a failing command prints."""
    capsys.readouterr()
    assert run(*argv, main=main) == 1
    printed = capsys.readouterr()
    lines = printed.err.strip().split("\n")
    assert len(lines) == 1, printed.err
    assert ": error: " in lines[0]
    assert "Traceback" not in printed.err + printed.out
    return lines[0]
