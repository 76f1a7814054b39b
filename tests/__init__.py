"""The tests of lossact."""

import os

# Threads that wait spin by default, and take a busy machine's cores from those that work. torch reads this when it is
# loaded, here and in every process that a test starts.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
