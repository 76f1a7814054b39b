"""Run the lossact command as `python -m lossact.cli`."""

import sys

from lossact.cli import main

sys.exit(main())
