"""`python -m failviz` is the `failviz` command."""

import sys

from failviz.cli import main

sys.exit(main())
