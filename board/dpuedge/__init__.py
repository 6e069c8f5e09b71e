"""What the board and the host share: fixed-point primitives, preprocessing, the model manifest.

Runs on Python 2.7 and 3.5+ with NumPy (and OpenCV to read pictures); imports nothing of ``dpuflow``.
"""
