"""Search a defense's settings: `inversionlab search` for a checkout that is not installed.

python jobs/search.py search_spaces/dummy_recognizer.py --recipe jobs/recipes/demo.yaml --trials 40
ray job submit --working-dir . -- python jobs/search.py search_spaces/dummy_recognizer.py --recipe ...
"""

import sys
from pathlib import Path

# `ray job submit --working-dir .` unpacks the checkout on the head node without installing it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

import typer

from inversionlab.commands import search
from inversionlab.commands.ending import as_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(
    epilog=search.epilog("python jobs/search.py", "search_spaces/{}.py", "jobs/recipes/{}.yaml")
)(search.main)

if __name__ == "__main__":
    as_process(app)
