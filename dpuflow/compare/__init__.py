"""Two model files side by side: structure, parameters, positions, bits; where they part."""
