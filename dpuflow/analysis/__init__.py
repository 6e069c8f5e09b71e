"""What quantization did to a network: tensors, what each layer costs, bias modes, other widths."""
