"""What Ray's dashboard calls the work: names of actors, and the metadata of a job.

No two actors of a job may have the same name, so each ends in a few letters of its own. Tasks may, and are called
what they work on.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from inversionlab.distributed.provenance import commit

if TYPE_CHECKING:
    # It imports Ray, which a run with nothing to do does without.
    from inversionlab.distributed.work_items import WorkItem

LONGEST = 100
"""Characters of a name."""


def actor_name(what: str) -> str:
    """A name that no other actor has."""
    return f"{what[:LONGEST]} ({uuid.uuid4().hex[:6]})"


def task_name(item: WorkItem) -> str:
    """The name of an attack worker's task, which Ray also makes the title of its process."""
    return f"AttackWorker.run ({item.title})"


def job_metadata(recipe: str, name: str) -> dict[str, str]:
    """The metadata of a driver's job: which recipe, which run or search, and the commit if there is one."""
    told = {"program": "inversionlab", "recipe": recipe, "name": name, "commit": commit()}
    return {key: value for key, value in told.items() if value}
