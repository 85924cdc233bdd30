"""Curves in Weights & Biases (`--log-to wandb:PROJECT`): a run a network or trial, in groups by recipe or search.

The client reads its key from WANDB_API_KEY, or from what `wandb login` has stored. With WANDB_MODE=offline it
writes below WANDB_DIR alone.
"""

import io
import os
import re
import tempfile
from collections.abc import Mapping
from typing import ClassVar

from PIL import Image

from inversionlab.tracking.tracker import Subject

SILENT = {
    "silent": True,
    "console": "off",
    # Nothing of the machine, the code and the command goes along.
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}
"""Settings of the client."""


class WandbTracker:
    """Tells W&B about one subject."""

    library: ClassVar[str] = "wandb"

    def __init__(self, address: str, subject: Subject) -> None:
        """Open the subject's run, or the one that an interrupted command has begun."""
        import wandb

        entity, _, project = address.rpartition("/")
        folder = os.environ.get("WANDB_DIR")
        # By itself it would write into the current folder.
        self._folder = None if folder else tempfile.TemporaryDirectory(prefix="wandb-")
        self._picture = wandb.Image
        self._run = wandb.init(
            entity=entity or None,
            project=project,
            group=subject.project,
            name=subject.name,
            id=subject.id,
            resume="allow",
            reinit="create_new",
            config=dict(subject.settings),
            dir=folder or (self._folder.name if self._folder else None),
            settings=wandb.Settings(**SILENT),
        )

    @staticmethod
    def fault(address: str) -> str:
        """What is wrong with the name of a project."""
        if not re.fullmatch(r"([\w.-]{1,64}/)?[\w.-]{1,128}", address):
            return "must be a project's name, such as wandb:faces, or wandb:TEAM/PROJECT"
        return ""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a step."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Send a picture."""
        self._run.log({name: self._picture(Image.open(io.BytesIO(png)))}, step=step)

    def close(self, *, failed: bool = False) -> None:
        """End the run."""
        self._run.finish(exit_code=int(failed))
        if self._folder is not None:
            self._folder.cleanup()
