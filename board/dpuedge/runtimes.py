"""Opening a model with one of the board's runtimes: what to ask for, and whether it fits the manifest.

Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import os

from dpuedge import elf, n2cube
from dpuedge.child import ChildRunner
from dpuedge.errors import BackendError

OURS = "dpuflow"
SILICON = "silicon runs only code made by the vendor's compiler"


def open_n2cube(model, options):
    """A runner on DNNDK's runtime: kernel and boundary nodes from the ELF file, or as the options name them."""
    kernel = _kernel(model.path, options.kernel)
    inputs, outputs = elf.boundary(kernel)
    spec = {"backend": "n2cube", "model": model.path, "library": n2cube.find_library(), "kernel": kernel.name,
            "folder": os.path.dirname(os.path.abspath(_library_of(model.path, kernel.name))), "profile": True,
            "input_node": _node(options.input_node, inputs, "input", model.path),
            "output_node": _node(options.output_node, outputs, "output", model.path)}
    return _checked(ChildRunner(spec, options.timeout), model)


def _kernel(path, wanted):
    kernels = elf.read_file(path).kernels
    found = [kernel for kernel in kernels if wanted in (None, kernel.name)]
    if len(found) != 1:
        raise BackendError("no single kernel to run", where=path, got=", ".join(k.name for k in kernels),
                           remedy="name one with --kernel")
    return found[0]


def _node(wanted, found, side, path):
    if wanted:
        return wanted
    if len(found) != 1:
        raise BackendError("no single %s node" % side, where=path, got=", ".join(found) or "none",
                           remedy="name one with --%s-node" % side)
    return found[0]


def _library_of(path, kernel):
    """The shared object that the runtime loads: the file itself, or the one beside an ``.elf``."""
    if path.endswith(".so"):
        return path
    stem = kernel[:-2] if kernel[-2:-1] == "_" and kernel[-1:].isdigit() else kernel
    library = os.path.join(os.path.dirname(os.path.abspath(path)), "libdpumodel%s.so" % stem)
    if not os.path.exists(library):
        raise BackendError("the runtime loads a shared object, and there is none beside the .elf", where=path,
                           expected=os.path.basename(library),
                           remedy="on the board: gcc -fPIC -shared %s -o %s" % (path, library))
    return library


def open_vart(model, options):
    """A runner on VART."""
    return _checked(ChildRunner({"backend": "vart", "model": os.path.abspath(_vendors(model))}, options.timeout), model)


def open_pynq(model, options):
    """A runner through ``pynq_dpu`` with the overlay that was named."""
    spec = {"backend": "pynq", "model": os.path.abspath(_vendors(model)), "overlay": options.overlay}
    return _checked(ChildRunner(spec, options.timeout), model)


def _vendors(model):
    if model.tool.startswith(OURS):
        raise BackendError("this xmodel holds no code for the hardware: %s" % SILICON, where=model.path,
                           got="made by %s" % model.tool,
                           remedy="compile with the vendor's tools, see docker/README.md")
    return model.path


def _checked(runner, model):
    """The runner, when its tensors hold as many elements as the manifest's; their positions may differ."""
    for side, made, stated in (("input", runner.input, model.inputs[0]), ("output", runner.output, model.outputs[0])):
        count = 1
        for length in stated.shape:
            count *= length
        if made["size"] != count:
            runner.close()
            raise BackendError("the model's %s is not the manifest's" % side, where=model.path,
                               got="%d elements at '%s'" % (made["size"], made["name"]),
                               expected="%d, shape %s" % (count, stated.shape))
    return runner


def adapted(model, runner):
    """The model with the positions that the runtime states, and a note where they differ from the manifest."""
    if not hasattr(runner, "input"):
        return model, None
    inputs = (model.inputs[0]._replace(fix_point=runner.input["fix_point"]),)
    outputs = (model.outputs[0]._replace(fix_point=runner.output["fix_point"]),)
    if (inputs, outputs) == (tuple(model.inputs), tuple(model.outputs)):
        return model, None
    note = "the model was quantized otherwise than its manifest says: positions %s, manifest %s" % (
        [t.fix_point for t in inputs + outputs], [t.fix_point for t in tuple(model.inputs) + tuple(model.outputs)])
    return model._replace(inputs=inputs, outputs=outputs), note
