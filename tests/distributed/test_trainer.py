"""What an error says when Ray loses a training, rather than the training failing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError
from ray.train import TrainingFailedError

from inversionlab.distributed.trainer import TrainingLostError, fitted


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("the node ran low on memory\nmany more lines"), ActorDiedError()]
)
def test_a_killed_controller_is_reported_in_a_line_that_says_how_to_go_on(error):
    def fit() -> None:
        raise error

    with pytest.raises(TrainingLostError, match="the same command continues from there") as caught:
        fitted(fit)
    assert "many more lines" not in str(caught.value)
    assert str(error).partition("\n")[0] in str(caught.value)


def test_workers_that_failed_are_reported_as_such():
    def fit() -> None:
        raise TrainingFailedError("a worker died")

    with pytest.raises(TrainingLostError, match=r"failed three times: .*a worker died"):
        fitted(fit)


def test_the_loops_return_value_is_passed_on():
    assert fitted(lambda: SimpleNamespace(return_value="no pictures")) == "no pictures"
