"""DPU cores: what each can do, its limits, and how long work takes on it."""
