"""What a model file is, in data: for ``dpuflow show``, as text, JSON or a page with the graph drawn."""
