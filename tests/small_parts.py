"""`jobs/prepare.py` for a set of a few pictures, which it takes for a large one of many parts."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURES = 4
"""Pictures in a part."""
SIDE = 16


def prepare() -> None:
    """Prepare the set of the recipe that the command line names."""
    import typer

    from inversionlab.commands.prepare import main
    from inversionlab.pipeline import picture_parts, prepared

    picture_parts.PART_BYTES = PICTURES * SIDE * SIDE
    prepared.SMALL = 0
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT / "platform"))
    from inversionlab.commands.ending import as_process

    as_process(prepare)
