"""The virtual program of a DPU kernel: instructions, schedule and its search, verifier, machine, clock.

It is this project's own instruction set, for the emulator and for reasoning about memory. Silicon
runs only code made by the vendor's compiler; nothing here is or resembles its instruction words.
"""
