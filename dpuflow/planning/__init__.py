"""What a network will cost on a core, before there is a board: placement, predicted times, what if."""
