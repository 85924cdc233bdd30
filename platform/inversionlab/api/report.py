"""What `inversionlab.audit` returns: the tables, the pictures and the page of one run."""

import io
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image
from torch import Tensor

from inversionlab.core.settings import ConfigError, usable_path
from inversionlab.report.audit.notebook import compact_html
from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import headline_sentence
from inversionlab.results.flat import flat_table
from inversionlab.results.frames import (
    attack_frame,
    evaluator_frame,
    model_frame,
    prior_frame,
)
from inversionlab.results.load import RunData, load_run
from inversionlab.results.rows import Row
from inversionlab.results.run_record import RunRecord
from inversionlab.results.run_results import RunResults
from inversionlab.store.address import default_root
from inversionlab.store.storage import Storage, private_file

if TYPE_CHECKING:
    import pandas as pd


class Report:
    """One run, read from its storage. In a notebook it shows itself."""

    def __init__(self, data: RunData, storage: str, *, pictures: bool = True) -> None:
        """Take a run's data, and the storage root that it comes from."""
        self.data, self.storage = data, storage
        self.pictures_shown = pictures
        """Whether a notebook shows pictures, and with them people's names."""

    @property
    def run(self) -> str:
        """The name of the run's folder in the storage, for `load_report` and `inversionlab report`."""
        return self.data.record.run

    @property
    def record(self) -> RunRecord:
        """What was run, on what: the experiment, versions, times, notes."""
        return self.data.record

    @cached_property
    def results(self) -> RunResults:
        """The rows with all estimates, and what is strongest."""
        return RunResults.of(self.data)

    @cached_property
    def table(self) -> "pd.DataFrame":
        """A row for each attack on each model, and for each null attack, as the headline evaluator sees them.

        Real held-out pictures (the ceiling) and chance come last. Shares have the ends of their 95 % intervals
        beside them (`top5`, `top5_low`, `top5_high`). Without evaluators the columns of success are left out.
        """
        return attack_frame(self.results)

    @cached_property
    def evaluators(self) -> "pd.DataFrame":
        """A row for each attack, model and evaluator."""
        return evaluator_frame(self.results)

    @cached_property
    def models(self) -> "pd.DataFrame":
        """A row for each released model: accuracy with its interval, what the defense costs."""
        return model_frame(self.results)

    @cached_property
    def priors(self) -> "pd.DataFrame":
        """A row for each generator of the attackers': what it can make of private faces, and its training time.

        `top1` and `top5` are its ceiling, the share of private pictures that the first evaluator recognizes as the
        generator can make them; `real_top1` and `real_top5` are those of the pictures themselves. Without
        `prior_ceiling: true` in the recipe there are no rows.
        """
        return prior_frame(self.results)

    @property
    def rows(self) -> pa.Table:
        """A row for each reconstruction; `picture` is a PNG file, and `verdicts` are the evaluators'."""
        return self.data.reconstructions

    @property
    def flat(self) -> pa.Table:
        """A row for each reconstruction and evaluator, with the settings as columns; see docs/tables.md."""
        return flat_table(self.results, names=True)

    @property
    def headline(self) -> str:
        """How much leaks, in one or two sentences."""
        return headline_sentence(self.results)

    def pictures(self, attack: str, model: str = "undefended") -> Tensor:
        """The reconstructions of one attack, float (N, C, S, S) in [0, 1], by victim, target and repeat.

        Args:
            attack: as in the column `attack` of `table`.
            model: as in the column `model`; it does not matter for a null attack.

        Raises:
            ConfigError: there is no such attack on such a model; the text says what there is.
        """
        row = self._row(attack, model)
        files = [
            file
            for cell in row.cells
            for file in self.rows.filter(pc.equal(self.rows["cell"], cell.cell))[
                "picture"
            ].to_pylist()
        ]
        if not files:
            raise ConfigError(f"attack = {attack}: has no reconstructions of {model} yet")
        arrays = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
        stacked = torch.from_numpy(np.stack(arrays)).float() / 255
        return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()

    def html(self, path: str | Path, *, pictures: bool = True) -> Path:
        """Write the page of the run, one file that needs no network; returns where it is.

        `pictures=False` leaves out every picture, every person's name and the names of skipped files.
        """
        place = usable_path(path, origin="path")
        with open(place, "w", encoding="utf-8", opener=private_file) as file:
            file.write(render(self.data, pictures=pictures))
        return place

    def __repr__(self) -> str:
        rows, made = len(self.results.rows), self.rows.num_rows
        return f"Report({self.run}: {rows} rows, {made} reconstructions, in {self.storage})"

    def _repr_html_(self) -> str:
        """The headline, the table and a few pictures, for a notebook."""
        return compact_html(self.results, pictures=self.pictures_shown)

    def _row(self, attack: str, model: str) -> Row:
        rows = self.results.rows
        for row in rows:
            if row.attack == attack and (row.kind == "null" or row.label == model):
                return row
        there = ", ".join(f"{row.attack} ({row.label})" for row in rows)
        raise ConfigError(
            f"attack = {attack}, model = {model}: is not a row of the table; there are: {there}"
        )


def load_report(run: str, storage: str | Path | None = None, *, pictures: bool = True) -> Report:
    """The report of a stored run.

    Args:
        run: the name of its folder below `runs/` in the storage.
        storage: folder or bucket; None: as `inversionlab audit` chooses it.
        pictures: whether a notebook shows pictures.

    Raises:
        ConfigError: there is no such run; the text names those that are there.
    """
    opened = Storage(default_root() if storage is None else str(storage))
    return Report(load_run(opened, run, trainings=True), opened.root, pictures=pictures)
