"""What the store lacks of an experiment: networks, measurements, reconstructions. An audit does just that."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from safetensors import SafetensorError

from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.measure import evaluator_key, model_key
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.prior_ceiling import ceiling_key, priors
from inversionlab.pipeline.session import Session, missing_jobs


@dataclass(frozen=True)
class Found:
    """What was found whole in the store. A file is read through to see that, so this is done only once."""

    networks: set[str] = field(default_factory=set)
    """The networks' keys."""
    measurements: set[str] = field(default_factory=set)
    """The measurements' keys."""


def nothing_missing(session: Session, found: Found) -> bool:
    """Whether every network, measurement and reconstruction of the experiment is stored whole."""
    plan = session.plan
    return not (
        missing_networks(session, found)
        or missing_evaluators(session, found.measurements)
        or missing_models(session, plan.cells, found.measurements)
        or any(missing_jobs(session, cell, plan.targets)[1] for cell in plan.work.values())
        or missing_ceilings(session, found.measurements)
    )


def missing_networks(session: Session, found: Found) -> list[NetworkSpec]:
    """Networks of the plan that are not stored whole; adds the others to `found`.

    One that is stored as it was written, but is not the network that its card says, is set aside.
    """
    for spec in session.plan.specs:
        if spec.key in found.networks or not session.artifacts.finished(spec):
            continue
        # A given network is compared with the user's own when it is stored; its file may be large.
        if spec.given or (fault := misfit(session, spec)) is None:
            found.networks.add(spec.key)
            continue
        card = f"artifacts/{spec.key}/card.json"
        place = session.artifacts.storage.uri(card)
        print(f"{place}: names weights that are not its network's ({fault}); it is trained again")
        with suppress(OSError):
            session.artifacts.storage.set_aside(card)
    return [spec for spec in session.plan.specs if spec.key not in found.networks]


def misfit(session: Session, spec: NetworkSpec) -> str | None:
    """Why the stored weights of a network cannot be its own; None if they can."""
    try:
        weights = session.artifacts.weights(spec)
    except SafetensorError as error:
        return str(error)
    broken = [name for name, t in weights.items() if t.is_floating_point() and t.isnan().any()]
    if broken:
        return f"{broken[0]} holds NaN"
    try:
        spec.restore(session.builder, weights)
    except (RuntimeError, KeyError, ValueError) as error:
        # PyTorch lists each tensor in a line of its own.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[1 if len(lines) > 1 else 0].rstrip(". ")
    return None


def missing_evaluators(session: Session, found: set[str]) -> list[str]:
    """Names of the evaluators that are not measured; adds the keys of the others' measurements to `found`."""
    missing = []
    for name, spec in session.plan.evaluators.items():
        galleries = ("galleries",) if spec.has_gallery else ()
        key = evaluator_key(session, name)
        if not _has(session, found, key, "evaluators", "features", *galleries):
            missing.append(name)
    return missing


def missing_models(
    session: Session, cells: Iterable[Cell], found: set[str], measured: Collection[str] = ()
) -> list[Cell]:
    """A cell for each of these cells' protected models that is not measured; adds to `found` as above.

    A model that an older version measured lacks the numbers that came later. It counts as measured, unless one of
    the columns `measured` is missing.
    """
    models: dict[str, Cell] = {}
    for cell in cells:
        if cell.defense is not None and not cell.stripped:
            models.setdefault(cell.protected, cell)
    return [
        cell
        for protected, cell in models.items()
        if not _has(
            session,
            found,
            key := model_key(session, protected, cell.defense),
            "models",
            "references",
        )
        or not _holds(session, found, key, measured)
    ]


def _holds(session: Session, found: set[str], key: str, columns: Collection[str]) -> bool:
    """Whether the measurement of a model has a value in each of these columns."""
    whole = f"{key} with {sorted(columns)}"
    if columns and whole not in found:
        (row,) = session.store.read("models", key).to_pylist()
        if any(row[column] is None for column in columns):
            return False
        found.add(whole)
    return True


def missing_ceilings(session: Session, found: set[str]) -> list[str]:
    """Ids of the generators whose ceilings are asked for and not stored; adds to `found` as above."""
    if not (session.experiment.prior_ceiling and session.plan.evaluators):
        return []
    return [
        generator
        for generator in priors(session)
        if not _has(session, found, ceiling_key(session, generator), "ceilings")
    ]


def _has(session: Session, found: set[str], key: str, *tables: str) -> bool:
    """Whether all these tables hold a measurement whole."""
    if key not in found and all(session.store.has(table, key) for table in tables):
        found.add(key)
    return key in found
