"""The fast engine on LiteRT: which layers are exact there, written as LiteRT models."""
