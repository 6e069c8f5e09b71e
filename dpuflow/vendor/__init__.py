"""The vendor's own tools at arm's length: a plan is made here, and run in a container, locally or over ssh.

``releases`` says what each release is called and how it wants to be asked; ``plan`` holds the plan
itself; ``quantize_plan`` and ``compile_plan`` make one; ``executors`` run one; ``outputs`` checks
what came back. Nothing of the vendor's is part of this project, and no licence is accepted here.
"""
