"""The decent_q quantizer: prepare the graph, place FixNeurons, calibrate, adjust, write."""
