"""Compare two stored runs: what each attack finds on each model in both, and which settings differ.

inversionlab compare lfw-1a2b3c4d lfw-5e6f7a8b --storage runs
"""

from __future__ import annotations

from typing import Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import StorageRoot, exit_codes


@ends_by_signals
def main(
    first: Annotated[str, typer.Argument(help="The name of a run.")],
    second: Annotated[str, typer.Argument(help="The name of another run of this storage.")],
    storage: StorageRoot = None,
) -> None:
    """Compare two stored runs, write a page, and print the differences with their intervals."""
    from inversionlab.report.versus import write_comparison
    from inversionlab.store.address import default_root

    root = default_root() if storage is None else storage
    with exit_codes():
        write_comparison(root, first, second)
