#!/usr/bin/env python
"""Read pictures with a compiled model, on a DPU or on its bit-exact emulator.

    python board/run_dpu.py build/chars74k/compile picture.png folder 'glob*.jpg'
    python board/run_dpu.py build/captcha_conv/compile --stream 0

Exit status: 0 all read, 1 an error or an unreadable picture, 2 wrong usage, 130 Ctrl-C. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import argparse
import errno
import os
import sys
import traceback
from collections import namedtuple

# Before NumPy is loaded: threads only hinder the small products of the layers behind the DPU, and the cores are
# needed for pictures. Whoever sets it keeps it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dpuedge import backends, manifest, overrides, runtimes, session, show, sources, verify
from dpuedge.console import as_text, say
from dpuedge.errors import DpuError

PROGRAM = "run_dpu.py"
Run = namedtuple("Run", "model backend engine options")


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1, got %s" % text)
    return value


def _whole(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more, got %s" % text)
    return value


def _backend(text):
    return "emulator" if text == "emu" else text


FITS = ("stretch", "pad", "crop")  # dpuedge.image.FITS


def parser():
    """The command line."""
    parse = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.splitlines()[0])
    add = parse.add_argument
    add("model", metavar="MODEL", help="compiled .xmodel, .elf or libdpumodel*.so with its .json beside it, or the "
                                       "folder of an .xmodel")
    add("images", metavar="IMAGE", nargs="*", help="picture files, folders (recursive) or globs")
    add("--input", metavar="X.npy", help="array N,H,W,C instead of pictures: float32 in the network's own "
                                         "input scale, or int8 as the network takes it")
    add("--backend", type=_backend, choices=backends.NAMES, default="auto",
        help="what runs the model (default: auto; emu is emulator)")
    add("--engine", choices=("fast", "reference"), default="fast", help="the emulator's engine (default: fast)")
    add("--kernel", help="n2cube: the kernel's name (default: the only one of the file)")
    add("--input-node", help="n2cube: the boundary node that takes the input (default: from the file)")
    add("--output-node", help="n2cube: the boundary node that gives the output (default: from the file)")
    add("--overlay", metavar="dpu.bit", help="pynq: the bitstream to program")
    add("--timeout", type=float, default=10.0, metavar="S", help="DPU: seconds to wait for one run (default: 10)")
    add("--quantize-input", choices=sorted(session.ROUNDINGS), default="round",
        help="float input to int8: round half up, or trunc as the board's runtimes do; both saturate")
    add("--saturate", dest="saturate", action="store_true", default=True,
        help="clip values beyond int8 (default)")
    add("--no-saturate", dest="saturate", action="store_false",
        help="a value beyond int8 is an error, as N2Cube would end")
    add("--preprocess", metavar="SPEC.json", help="another preprocessing than the manifest's (dpuedge/image.py)")
    add("--resize", choices=FITS, help="how pictures get the network's size (default: as in training)")
    add("--mean", type=overrides.numbers, metavar="M[,M,M]", help="with --scale: (pixel - mean) * scale")
    add("--scale", type=overrides.numbers, metavar="S[,S,S]", help="with --mean: (pixel - mean) * scale")
    add("--gray", action="store_true", help="give a colour network gray pictures")
    add("--labels", metavar="FILE", help="other labels than the manifest's: one a line, or a JSON list")
    add("--softmax", choices=("host",), default="host", help="probabilities are computed on the host, in float")
    add("--verify", metavar="golden.npz", help="compare int8 outputs with the emulator's bits, read no pictures")
    add("--stream", metavar="SOURCE", help="frames of a camera (its number), a film, an address or numbered pictures "
                                           "(p_%%03d.png) instead of pictures, until they end or Ctrl-C")
    add("--frames", type=_count, metavar="N", help="end a stream after N frames")
    add("--beam", type=_count, metavar="N", help="networks that read text: follow the N best words at once "
                                                 "(default: the best symbol at each step)")
    add("--topk", type=_count, default=5, metavar="N", help="how many classes to show (default: 5)")
    add("--threads", type=_count, default=1, metavar="N", help="pictures in work at once (default: 1)")
    add("--warmup", "--warm-up", type=_whole, default=0, metavar="N", help="runs before the first picture, not timed")
    add("--profile", action="store_true", help="also show percentiles of pre, run and post, and pictures a second")
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
    if bool(options.images) + bool(options.input) + bool(options.stream) + bool(options.verify) != 1:
        parse.error("give pictures, --input, --stream or --verify, one of the four")
    if options.frames and not options.stream:
        parse.error("--frames needs --stream")
    return options


def run(options):
    """Read everything; the number of sources that could not be read. DpuError ends the run."""
    model = overrides.apply(manifest.load(options.model), options)
    backend, note = _choose(model, options)
    if options.verify:
        return _verify(model, backend, options)
    work = _sources(options, model)
    count = 1 if options.stream else min(options.threads, len(work))
    if note:
        say(sys.stderr, "%s: %s" % (PROGRAM, note))
    runners = []
    try:
        for _ in range(count):
            runners.append(backend.open_runner(model, options))
        model, note = runtimes.adapted(model, runners[0])
        if note:
            say(sys.stderr, "%s: %s" % (PROGRAM, note))
        session.warm_up(runners, model, options.warmup)
        return _report(work, runners, Run(model, backend, runners[0].name, options))
    finally:
        for runner in runners:
            runner.close()


def _verify(model, backend, options):
    """Compare with golden outputs; 1 when any value differs."""
    size = 1
    for length in model.outputs[0].shape:
        size *= length
    given, expected = verify.load(options.verify, model.inputs[0], size)
    runner = backend.open_runner(model, options)
    try:
        images, values, first = verify.compare(runner, given, expected)
    finally:
        runner.close()
    say(sys.stdout, "%s%s: %d of %d images differ from the emulator's bits, %d of %d values%s" % (
        backend.name, " (EMULATED, no DPU ran)" if backend.emulated else "", images, len(given), values, expected.size,
        "; first: %s" % first if first else ""))
    return images


def _choose(model, options):
    """The back end and a note; a file of our own compiler is never handed to a DPU unasked."""
    if options.backend == "auto" and model.tool.startswith(runtimes.OURS) and not options.overlay:
        return backends.choose("emulator", model.path)[0], "emulating the DPU on this CPU: %s" % runtimes.SILICON
    return backends.choose(options.backend, model.path, options.overlay)


def _sources(options, model):
    if options.stream:
        return sources.frames(options.stream, model.preprocessing, options.frames)
    if options.input:
        return sources.rows(options.input, model.inputs[0])
    return sources.pictures(options.images, model.preprocessing)


def _report(work, runners, this_run):
    names = [] if this_run.options.stream else [source.name for source in work]
    output = (show.Document if this_run.options.json else show.Table)(sys.stdout, this_run, names)
    output.start()
    failed, started = 0, session.clock()
    try:
        for result in session.predict_all(work, this_run.model, runners, this_run.options):
            if isinstance(result, session.Failure):
                failed += 1
                say(sys.stderr, "%s: error: %s" % (PROGRAM, result.message))
                output.fail(result)
            else:
                output.add(result)
    except KeyboardInterrupt:
        if not this_run.options.stream:
            raise  # of a stream Ctrl-C is the ordinary end
    output.finish(session.clock() - started)
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
