"""Prepare the data sets of a recipe: decode every picture once, before anything is planned or trained.

inversionlab prepare lfw --storage runs
ray job submit --working-dir . -- python jobs/prepare.py jobs/recipes/lfw.yaml --storage s3://bucket/audits
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import (
    Assignments,
    StorageRoot,
    VerifyData,
    exit_codes,
    import_from_current_folder,
    importing,
    verified,
)


@ends_by_signals
def main(
    recipe: Annotated[
        Path,
        typer.Argument(help="The experiment as YAML: a file or a name.", show_default=False),
    ],
    assignments: Assignments = None,
    storage: StorageRoot = None,
    verify_data: VerifyData = False,
) -> None:
    """Decode a recipe's pictures once and store them; an audit or a search does so too, before it begins."""
    with importing():
        from inversionlab.commands.supplied import recipe_file
        from inversionlab.distributed.preparing import PreparesOnRay
        from inversionlab.distributed.run_record import describe
        from inversionlab.experiment import load
        from inversionlab.pipeline.session import open_experiment
        from inversionlab.store.address import default_root
        from inversionlab.store.storage import Storage

    import_from_current_folder()
    with exit_codes():
        experiment = verified(load(recipe_file(recipe), assignments or []), verify=verify_data)
        root, began = Storage(default_root() if storage is None else storage), time.monotonic()
        prepare = PreparesOnRay(typer.echo)
        typer.echo(describe(open_experiment(experiment, root, prepare=prepare)))
        typer.echo(f"Done in {time.monotonic() - began:.0f} s.")
