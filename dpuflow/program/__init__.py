"""The virtual program of a DPU kernel: instructions, the fixed schedule, the verifier, the machine.

It is this project's own instruction set, for the emulator and for reasoning about memory. Silicon
runs only code made by the vendor's compiler; nothing here is or resembles its instruction words.
"""
