"""`python -m nlkit` is the command line."""

import sys

from nlkit.cli import main

sys.exit(main())
