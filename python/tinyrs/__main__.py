"""`python -m tinyrs`: the same program as `tinyrs`."""

import sys

from tinyrs.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
