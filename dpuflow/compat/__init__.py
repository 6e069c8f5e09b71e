"""Stand-ins for the board's Python modules, for programs already written against them.

``xir_graph``, ``vart_runner`` and ``pynq_overlay`` hold the classes; ``modules/`` holds files with
the vendor's module names that hand them out, and ``launch`` puts those on the path of one program.
Nothing here runs on a DPU: every job is emulated on this computer.
"""
