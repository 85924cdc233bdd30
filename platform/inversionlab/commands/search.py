"""Search a defense's settings: Ray Tune and Optuna, with the attacks in the loop.

inversionlab search dummy_recognizer --recipe demo --trials 40
ray job submit --working-dir . -- python jobs/search.py dummy_recognizer --recipe demo ...
"""

from __future__ import annotations

import re
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inversionlab.commands.ending import ends_by_signals
from inversionlab.commands.options import (
    Assignments,
    LogToOption,
    ShowPictures,
    StorageRoot,
    Strict,
    VerifyData,
    exit_codes,
    import_from_current_folder,
    log_to,
    verified,
)

if TYPE_CHECKING:
    from inversionlab.experiment import Experiment
    from inversionlab.results.search import SearchRecord
    from inversionlab.tracking.log_to import LogTo
    from inversionlab.tuning.search import SearchOptions
    from inversionlab.tuning.space import SearchSpace

EPILOG = """Examples:

  {program} {space} --recipe {lfw} --trials 60 --judge

  {program} {space} --recipe {demo} --single

Run the same command again after anything stopped it: finished trials are replayed from the store, and the study
ends as an undisturbed one does. More --trials lengthen a finished search.

Exit codes: 0 done; 1 some trials, or what all of them need, failed (the rest is stored); 2 the recipe, the
search space or the data is wrong; 4 there is a warning on the page and --strict is set (all is stored);
130, 143 or 129 interrupted by Ctrl-C, SIGTERM or SIGHUP."""


def epilog(program: str, space: str = "{}", recipe: str = "{}") -> str:
    """The last part of the help, with examples of `program`; `space` and `recipe` show how both are named."""
    return EPILOG.format(
        program=program,
        space=space.format("dummy_recognizer"),
        lfw=recipe.format("lfw"),
        demo=recipe.format("demo"),
    )


class Sampler(StrEnum):
    """Optuna's samplers."""

    tpe = "tpe"
    nsga2 = "nsga2"
    random = "random"


@ends_by_signals
def main(
    space: Annotated[
        Path,
        typer.Argument(
            help="The search space: a module of search_spaces/, which says how to write one; its name is enough."
        ),
    ],
    recipe: Annotated[
        Path, typer.Option(help="The experiment as YAML, with that defense; a file or a name.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of settings to try.")
    ] = 40,
    assignments: Assignments = None,
    storage: StorageRoot = None,
    max_concurrent: Annotated[
        int, typer.Option(min=1, max=1000, help="Trials at once; a part of the study's identity.")
    ] = 4,
    sampler: Annotated[Sampler, typer.Option(help="How Optuna proposes settings.")] = Sampler.tpe,
    single: Annotated[
        bool,
        typer.Option(
            "--single",
            help="Minimize one objective: attack success under the space's constraints (the accuracy floor); "
            "hopeless trials are stopped early by successive halving (ASHA, made repeatable).",
        ),
    ] = False,
    step_targets: Annotated[
        int, typer.Option(min=1, help="Targets that a trial attacks between two reports.")
    ] = 5,
    time_budget: Annotated[
        str | None,
        typer.Option(help="Time after which no trial continues: 90s, 30m, 2h.", show_default=False),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue this search; fail if it was never begun."),
    ] = False,
    judge: Annotated[
        bool,
        typer.Option(
            "--judge", help="Audit the recommended setting on unseen targets and starts as well."
        ),
    ] = False,
    pictures: ShowPictures = True,
    verify_data: VerifyData = False,
    strict: Strict = False,
    logged: LogToOption = None,
) -> None:
    """Search a defense's settings for the least leak at the least loss of accuracy."""
    # Imported here so that --help answers at once; PyTorch and Ray take seconds.
    from inversionlab.commands.supplied import recipe_file, space_file
    from inversionlab.experiment import load
    from inversionlab.store.address import default_root
    from inversionlab.tuning.search import SearchOptions
    from inversionlab.tuning.space import load_space

    import_from_current_folder()
    with exit_codes():
        options = SearchOptions(
            trials=trials,
            max_concurrent=max_concurrent,
            sampler=sampler.value,
            single=single,
            step_targets=step_targets,
            time_budget=_seconds(time_budget),
        )
        experiment = load(recipe_file(recipe), assignments or [])
        experiment = verified(experiment, verify=verify_data)
        root = default_root() if storage is None else storage
        _run(
            experiment,
            load_space(space_file(space)),
            options,
            root,
            log_to(logged, pictures=pictures),
            resume,
            judge,
            pictures,
            strict,
        )


def _seconds(text: str | None) -> float | None:
    from inversionlab.core.settings import ConfigError

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) <= 0:
        raise ConfigError(f"--time-budget {text}: must be a time above 0 such as 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _run(
    experiment: Experiment,
    space: SearchSpace,
    options: SearchOptions,
    root: str,
    services: LogTo,
    resume: bool,
    judge: bool,
    pictures: bool,
    strict: bool,
) -> None:
    from rich.console import Console

    from inversionlab.distributed.live_display import display_of
    from inversionlab.given.endpoint_answers import EndpointError
    from inversionlab.given.ledger import BudgetError
    from inversionlab.pipeline.train import TrainingError
    from inversionlab.report.frame import DoubtError
    from inversionlab.report.search.page import write_search_page
    from inversionlab.tuning.search import SearchError, search
    from inversionlab.tuning.search_record import write_search

    began = time.monotonic()
    with exit_codes(SearchError, TrainingError, EndpointError, BudgetError, DoubtError):
        display = display_of(Console())
        outcome = search(
            *(experiment, space, options, root, typer.echo if display is None else display.say),
            resume=resume,
            log_to=services,
            display=display,
        )
        typer.echo("[4/4] report: writing the search's record")
        record = write_search(outcome)
        audited = True
        if judge and record.recommended is not None and record.helps:
            audited = _audit_recommended(root, outcome.name, services, pictures)
        elif judge:
            typer.echo("Nothing is recommended, so there is nothing to audit again.")
        doubt = None
        try:
            write_search_page(root, outcome.name, pictures=pictures, strict=strict)
        except DoubtError as error:
            doubt = error
        typer.echo(f"Done in {time.monotonic() - began:.0f} s.")
        _refuse_failed(record)
        if not audited:
            raise typer.Exit(1)
        if doubt is not None:
            raise doubt


def _audit_recommended(root: str, name: str, services: LogTo, pictures: bool) -> bool:
    """Audit the recommended recipe; returns whether that succeeded."""
    from inversionlab.core.settings import validate
    from inversionlab.core.yaml_io import parse_yaml
    from inversionlab.distributed.audit import audit
    from inversionlab.distributed.errors import ActorPoolError, AuditError
    from inversionlab.experiment import Experiment
    from inversionlab.given.endpoint_answers import EndpointError
    from inversionlab.given.ledger import BudgetError
    from inversionlab.pipeline.train import TrainingError
    from inversionlab.report.audit.page import write_report
    from inversionlab.store.storage import Storage

    origin = f"searches/{name}/recommended.yaml"
    recipe = parse_yaml(Storage(root).read(origin).decode())
    typer.echo("Auditing the recommended setting on unseen targets and starts:")
    try:
        experiment = validate(Experiment, recipe, origin=origin)
        run = audit(experiment, root, typer.echo, log_to=services)
    except (AuditError, ActorPoolError, TrainingError, EndpointError, BudgetError) as error:
        typer.echo(f"error: the recommended setting could not be audited: {error}", err=True)
        return False
    write_report(root, run, pictures=pictures, keep=True)
    return True


def _refuse_failed(record: SearchRecord) -> None:
    """Exit with 1 if a trial failed, with 3 if an endpoint's budget was spent.

    Without it a cluster would show the job as SUCCEEDED.
    """
    failed = [t for t in record.trials if t.state == "error"]
    for trial in failed[:5]:
        typer.echo(f"error: trial {trial.number}: {trial.fault}", err=True)
    if failed:
        typer.echo(
            f"error: {len(failed)} of {len(record.trials)} trials failed; the same command tries them again",
            err=True,
        )
        spent = any("BudgetError" in trial.fault for trial in failed)
        raise typer.Exit(3 if spent else 1)
