"""Curves in MLflow (`--log-to mlflow:http://HOST:PORT`): an experiment a recipe or search, a run a network.

MLflow's client reads secrets from MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_TOKEN.
"""

import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from inversionlab.tracking.tracker import Subject, safe

TAG = "inversionlab.key"
"""The tag by which a run is found again after an interruption."""
CLIENT = {
    # By itself it would try for many minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # It would print where each run is.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings of the client, unless the user has others."""
MOST = 100
"""Settings that MLflow takes in one message."""
LONGEST = 500
"""Characters of a setting's value."""


class MlflowTracker:
    """Tells an MLflow server about one subject."""

    library: ClassVar[str] = "mlflow"

    def __init__(self, address: str, subject: Subject) -> None:
        """Open the subject's run, or the one that an interrupted command has begun."""
        for name, value in CLIENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        self._metric = Metric
        self._client = MlflowClient(tracking_uri=address)
        experiment = self._client.get_experiment_by_name(subject.project)
        if experiment is not None:
            place = experiment.experiment_id
        else:
            try:
                place = self._client.create_experiment(subject.project)
            except MlflowException:
                # Another worker may have made it meanwhile.
                experiment = self._client.get_experiment_by_name(subject.project)
                if experiment is None:
                    raise
                place = experiment.experiment_id
        begun = self._client.search_runs(
            [place], filter_string=f"tags.`{TAG}` = '{subject.id}'", max_results=1
        )
        if begun:
            self._run = begun[0].info.run_id
            self._client.set_terminated(self._run, status="RUNNING")
        else:
            made = self._client.create_run(place, tags={TAG: subject.id}, run_name=subject.name)
            self._run = made.info.run_id
        params = [Param(safe(k), str(v)[:LONGEST]) for k, v in subject.settings.items()]
        for first in range(0, len(params), MOST):
            self._client.log_batch(self._run, params=params[first : first + MOST])

    @staticmethod
    def fault(address: str) -> str:
        """What is wrong with the address of a server."""
        if not re.match(r"https?://[^/]", address):
            return "must be a server's address, such as mlflow:http://127.0.0.1:5000"
        # Anywhere: a password may hold a slash.
        if re.search(r"[@?#;]", address):
            return (
                "its address came with a user or with options, which may be a secret and would appear in logs and "
                "in lists of processes; give it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or in "
                "MLFLOW_TRACKING_TOKEN"
            )
        try:
            _ = urlsplit(address).port
        except ValueError:
            # Python's text holds a part of the address.
            return "is not an address; must be one such as mlflow:http://127.0.0.1:5000"
        return ""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a step."""
        now = int(time.time() * 1000)
        metrics = [self._metric(safe(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Send a picture as a file of the run."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{safe(name)}-{step:05d}.png"
            file.write_bytes(png)
            self._client.log_artifact(self._run, str(file), "pictures")

    def close(self, *, failed: bool = False) -> None:
        """End the run."""
        self._client.set_terminated(self._run, status="FAILED" if failed else "FINISHED")
