"""Prepare the data sets of a recipe: `inversionlab prepare` for a checkout that is not installed.

ray job submit --working-dir . -- python jobs/prepare.py jobs/recipes/lfw.yaml --storage s3://bucket/audits
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import typer

from inversionlab.commands import prepare
from inversionlab.commands.ending import as_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(prepare.main)

if __name__ == "__main__":
    as_process(app)
