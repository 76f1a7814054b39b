"""How torch's threads wait."""

import os


def keep_threads_from_spinning() -> None:
    """Have torch's threads sleep while they wait for each other; to be called before torch is loaded.

    By default they spin. That is no faster on a quiet machine, and many times slower on one whose cores others want. A
    setting of the user's holds.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
