"""Lists every setting that a recipe may have."""

import typer


def main() -> None:
    """List every setting of a recipe with its type, bounds, default and meaning."""
    from inversionlab.experiment import Experiment
    from inversionlab.experiment.settings_reference import settings_reference

    typer.echo("\n".join(settings_reference(Experiment)))
