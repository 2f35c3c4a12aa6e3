"""`python -m centerkp` does what the command `centerkp` does."""

import sys

from centerkp.cli import main

if __name__ == "__main__":
    sys.exit(main())
