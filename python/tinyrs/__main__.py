"""`python -m tinyrs`: the command line."""

import sys

from tinyrs.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
