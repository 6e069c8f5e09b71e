#!/usr/bin/env python
"""Classify pictures with a compiled model, on a DPU or on its bit-exact emulator.

    python board/run_dpu.py build/chars74k/compile picture.png folder 'glob*.jpg'

Exit status: 0 all read, 1 an error or an unreadable picture, 2 wrong usage, 130 Ctrl-C. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import argparse
import errno
import os
import sys
import traceback
from collections import namedtuple

from dpuedge import backends, manifest, session, show, sources
from dpuedge.console import as_text, say
from dpuedge.errors import DpuError

PROGRAM = "run_dpu.py"
Run = namedtuple("Run", "model backend engine options")


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1, got %s" % text)
    return value


def parser():
    """The command line."""
    parse = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.splitlines()[0])
    add = parse.add_argument
    add("model", metavar="MODEL", help="compiled .xmodel with its .json beside it, or the folder of both")
    add("images", metavar="IMAGE", nargs="*", help="picture files, folders (recursive) or globs")
    add("--input", metavar="X.npy", help="array N,H,W,C instead of pictures: float32 in the network's own "
                                         "input scale, or int8 as the network takes it")
    add("--backend", choices=backends.NAMES, default="auto", help="what runs the model (default: auto)")
    add("--engine", choices=("fast", "reference"), default="fast", help="the emulator's engine (default: fast)")
    add("--quantize-input", choices=sorted(session.ROUNDINGS), default="round",
        help="float input to int8: round half up, or trunc as the board's runtimes do; both saturate")
    add("--topk", type=_count, default=5, metavar="N", help="how many classes to show (default: 5)")
    add("--threads", type=_count, default=1, metavar="N", help="pictures in work at once (default: 1)")
    add("--repeat", type=_count, default=1, metavar="N", help="run each picture N times, show the median time")
    add("--json", action="store_true", help="one JSON object on standard output instead of the table")
    add("--debug", action="store_true", help="show where an error came from")
    return parse


def _parse(argv):
    parse = parser()
    options, late = parse.parse_known_args(argv)  # "MODEL --json IMAGE" leaves IMAGE over
    if any(text.startswith("-") for text in late):
        parse.error("unrecognized arguments: %s" % " ".join(late))
    options.images = options.images + late
    if bool(options.images) == bool(options.input):
        parse.error("give pictures or --input, one of the two")
    return options


def run(options):
    """Classify everything; the number of sources that could not be read. DpuError ends the run."""
    backend, note = backends.choose(options.backend)
    model = manifest.load(options.model)
    work = (sources.rows(options.input, model.inputs[0]) if options.input
            else sources.pictures(options.images, model.preprocessing))
    if note:
        say(sys.stderr, "%s: %s" % (PROGRAM, note))
    runners = [backend.open_runner(model, options.engine) for _ in range(min(options.threads, len(work)))]
    try:
        return _report(work, runners, Run(model, backend, runners[0].name, options))
    finally:
        for runner in runners:
            runner.close()


def _report(work, runners, this_run):
    names = [source.name for source in work]
    output = (show.Document if this_run.options.json else show.Table)(sys.stdout, this_run, names)
    output.start()
    failed = 0
    for result in session.predict_all(work, this_run.model, runners, this_run.options):
        if isinstance(result, session.Failure):
            failed += 1
            say(sys.stderr, "%s: error: %s" % (PROGRAM, result.message))
            output.fail(result)
        else:
            output.add(result)
    output.finish()
    return failed


def main(argv=None):
    """Run the command line; the exit status."""
    options = _parse(argv)
    try:
        return 1 if run(options) else 0
    except DpuError as error:
        return _fail(error.__str__(), options.debug)
    except KeyboardInterrupt:
        _fail("interrupted", options.debug)
        return 130
    except (IOError, OSError) as error:
        if error.errno != errno.EPIPE:
            return _fail("%s" % error, options.debug)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away (| head)
        return 1


def _fail(message, debug):
    if debug:
        traceback.print_exc()
    say(sys.stderr, u"%s: error: %s" % (PROGRAM, as_text(message)))
    return 1


if __name__ == "__main__":
    sys.exit(main())
