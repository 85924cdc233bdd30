"""A paper's tables: `inversionlab paper` for a checkout that is not installed, as on a cluster's head node.

python jobs/paper.py kotsuji --scale tiny
ray job submit --working-dir . -- python jobs/paper.py wen --only table2
"""

import sys
from pathlib import Path

# `ray job submit --working-dir .` unpacks the checkout on the head node without installing it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import typer

from inversionlab.commands import paper
from inversionlab.commands.ending import as_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog=paper.epilog("python jobs/paper.py"))(paper.main)

if __name__ == "__main__":
    as_process(app)
