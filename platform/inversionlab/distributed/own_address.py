"""What each worker process does first."""

import os
import warnings

import ray


def take() -> None:
    """Name this worker's own cluster as Ray's address, and keep what it writes readable by its owner alone.

    Without the address, parts of Ray that run in workers look for clusters among all processes of the machine, and
    give up where there are several. Ray Train and Ray Tune write files too. What Ray finds outdated in its own
    code is of no use to the user.
    """
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
    os.umask(0o077)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
