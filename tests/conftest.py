"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner

from inversionlab.results.load import RunData
from tests import faults
from tests.given.outside_audit import Own, make_own
from tests.given.outside_model import OutsideFiles, made_up_people, train_outside
from tests.report import browser
from tests.report.browser import Browser
from tests.report.fake_run import fake_run


def pytest_configure() -> None:
    """Let the commands that tests start hear every signal, and give Ray time and its share on a busy machine.

    Below `nohup`, for instance, a signal is ignored. No property is refused because the machine was slow.
    """
    settings.register_profile(
        "any pace", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any pace")
    os.environ.setdefault("INVERSIONLAB_RAY_SECONDS", "240")
    # Ray's workers give way to others by 15, so beside two busy processes they got a thirtieth of a core.
    os.environ.setdefault("RAY_worker_niceness", "0")
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if default else signal.SIG_DFL)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """With several processes: a file's tests stay together, and so do all tests on Ray, which need both cores."""
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        on_ray = item.get_closest_marker("ray") or "local_ray" in getattr(item, "fixturenames", ())
        group = "ray" if on_ray else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    yield
    # In a process of xdist's.
    if config.getoption("loadgroup", False) and not all("@" in item.nodeid for item in items):
        raise pytest.UsageError("this pytest-xdist does not see the groups of tests in this pytest")


@pytest.fixture
def shared_data() -> Path:
    """The real pictures beside the checkout; the test is skipped where they are absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"{path} is absent: no real pictures to test on")
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in an attack worker: several threads divide a batch by its size, and then the bits depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless browser; the test is skipped where there is none."""
    if browser.found() is None:
        pytest.skip("no Chromium at hand")
    with Browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """What the owner of a model has: its files, and pictures of its people and of strangers."""
    return make_own(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> OutsideFiles:
    """A model that was trained outside, saved in every form."""
    return train_outside(tmp_path_factory.mktemp("outside"), *made_up_people())


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A local Ray with two CPUs; its sockets want a short path, so not pytest's own folder."""
    # Imported late: Ray costs seconds, and most tests need none.
    import ray

    from inversionlab.distributed.cluster import connect

    with tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True) as folder:
        before = dict(os.environ)
        os.environ.update(RAY_ADDRESS="local", RAY_TMPDIR=folder)
        connect(num_cpus=2, include_dashboard=False)
        yield
        ray.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def undisturbed(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose storage holds all networks, and an audit that nothing disturbed."""
    from jobs.audit import app as audit

    folder = tmp_path_factory.mktemp("undisturbed")
    faults.train_base(folder / "runs")
    result = CliRunner().invoke(audit, faults.audit_words(folder)[1:])
    assert result.exit_code == 0, result.output[-3000:]
    assert len(faults.rows(folder)) == faults.ROWS
    return folder


@pytest.fixture(scope="session")
def searched(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose storage holds all networks, and a search that nothing disturbed."""
    from jobs.search import app as search

    folder = tmp_path_factory.mktemp("searched")
    faults.copy_networks(undisturbed / "runs", folder)
    result = CliRunner().invoke(search, faults.search_words(folder)[1:])
    assert result.exit_code == 0, result.output[-3000:]
    trials = faults.record(folder)["trials"]
    assert [t["state"] for t in trials] == ["complete"] * faults.TRIALS
    # Were all values equal, equal studies would prove little.
    assert len({t["accuracy"]["value"] for t in trials}) > 1
    return folder


@pytest.fixture(scope="session")
def run() -> RunData:
    """Three attacks, three alphas, two evaluators, 6 targets x 2 repeats; do not change it."""
    return fake_run(alphas=(0.1, 0.25, 0.6), targets=6, repeats=2)
