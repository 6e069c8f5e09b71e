"""dpuflow: bring a neural network onto a Xilinx DPU, and emulate it bit for bit."""

__version__ = "0.1.0"
