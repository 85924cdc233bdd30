"""Write the page of a stored run or search again: `inversionlab report` for a checkout that is not installed.

python jobs/report.py demo-1a2b3c4d --storage runs --no-pictures
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import typer

from inversionlab.commands import report
from inversionlab.commands.ending import as_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(report.main)

if __name__ == "__main__":
    as_process(app)
