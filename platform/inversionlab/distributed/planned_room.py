"""What the cluster lacks for a run that is only planned. Ray is imported where RAY_ADDRESS names a cluster."""

import os
from collections.abc import Iterator

from inversionlab.distributed.errors import ClusterError
from inversionlab.distributed.room import this_machine, unplaced
from inversionlab.experiment import RuntimeSettings


def planned(runtime: RuntimeSettings, *, training: bool) -> Iterator[str]:
    """What the cluster of RAY_ADDRESS, or a Ray that would be started on this machine, lacks for what is to do."""
    if runtime.grows:
        return
    if os.environ.get("RAY_ADDRESS", "local") in ("", "local"):
        for reason in unplaced(runtime, [this_machine()], training=training):
            yield f"{reason} (this machine alone, where the run would be refused)"
        return
    # Imported late: a plan needs Ray for nothing else.
    from inversionlab.distributed.cluster import alive_nodes, connect

    try:
        connect()
    except ClusterError as error:
        yield str(error)
        return
    for reason in unplaced(runtime, alive_nodes(), training=training):
        yield f"{reason} now; the run would wait for it"
