"""Entry points of the vendors' commands; each imports its command when it is called."""

from __future__ import annotations


def decent_q() -> int:
    """DNNDK's quantizer."""
    from dpuflow.cli.decent_q import main

    return main("decent_q")


def vai_q_tensorflow() -> int:
    """Vitis AI's name of the same quantizer."""
    from dpuflow.cli.decent_q import main

    return main("vai_q_tensorflow")


def dnnc() -> int:
    """DNNDK's compiler."""
    from dpuflow.cli.dnnc import main

    return main()


def vai_c_tensorflow() -> int:
    """Vitis AI's compiler."""
    from dpuflow.cli.vai_c import main

    return main()


def vai_c_tensorflow2() -> int:
    """Vitis AI's compiler for TensorFlow 2."""
    from dpuflow.cli.vai_c import main

    return main(name="vai_c_tensorflow2")


def vai_c_xir() -> int:
    """Vitis AI's compiler for the quantizers' xmodels."""
    from dpuflow.cli.vai_c import main

    return main(name="vai_c_xir")
