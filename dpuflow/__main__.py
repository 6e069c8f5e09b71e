"""``python -m dpuflow``: the command line."""

import sys

from dpuflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
