"""Engines run a network on this host; every one of them has the same interface."""
