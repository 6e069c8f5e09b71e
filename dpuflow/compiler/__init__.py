"""The compiler: a quantized network and a core in, kernels for DPU and CPU out.

What it emits is for the emulator, the performance model and exchange. Silicon runs only code made
by the vendor's compiler.
"""
