"""What each worker process does first."""

import os

import ray


def take() -> None:
    """Name this worker's own cluster as Ray's address.

    Without it, parts of Ray that run in workers look for clusters among all processes of the machine, and give up
    where there are several.
    """
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
