"""The fast engine on OpenVINO: which layers are exact there, as OpenVINO networks."""
