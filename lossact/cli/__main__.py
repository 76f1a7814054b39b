"""python -m lossact.cli: the lossact command."""

import sys

from lossact.cli import main

sys.exit(main())
