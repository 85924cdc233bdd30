"""Audit a recognizer: `inversionlab audit` for a checkout that is not installed, as on a cluster's head node.

python jobs/audit.py jobs/recipes/demo.yaml
ray job submit --working-dir . -- python jobs/audit.py jobs/recipes/demo.yaml
"""

import sys
from pathlib import Path

# `ray job submit --working-dir .` unpacks the checkout on the head node without installing it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import typer

from inversionlab.commands import audit
from inversionlab.commands.ending import as_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog=audit.epilog("python jobs/audit.py", "jobs/recipes/{}.yaml"))(audit.main)

if __name__ == "__main__":
    as_process(app)
