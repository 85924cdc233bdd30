"""The notebooks of the documentation: stored without outputs, they run from the first cell to the last."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((CHECKOUT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.ray
def test_the_first_shows_pictures_a_report_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html, _ = outputs("own_model", tmp_path, monkeypatch)
    pictures, report, table = html[0], html[1], html[2]
    assert pictures.count("data:image/png;base64,") == 6
    assert "Undefended, the strongest attack" in report
    assert "data:image/png;base64," in report
    assert "random_public" in table


@pytest.mark.slow
@pytest.mark.ray
def test_the_second_ends_with_a_defended_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html, said = outputs("protect_it", tmp_path, monkeypatch)
    both, weighed = html[0], html[1]
    assert "uniform noise" in both
    assert "undefended" in both
    assert weighed.count("<tr>") >= 3
    assert "the same answer to" in said
    assert said.rstrip().endswith("True")


def outputs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """What a notebook shows as HTML, and all that it says as text."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    # A kernel that is this Python, whatever kernels the machine has.
    kernel = tmp_path / "kernels" / "here"
    kernel.mkdir(parents=True)
    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": words, "display_name": "here", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    # Ray's sockets want a short path.
    short = tempfile.TemporaryDirectory(prefix="il", dir="/tmp", ignore_cleanup_errors=True)
    for variable, value in {
        "PYTHONPATH": str(CHECKOUT / "platform"),
        "NOTEBOOK_EPOCHS": "4",
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": short.name,
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }.items():
        monkeypatch.setenv(variable, value)
    path = next(path for path in NOTEBOOKS if path.stem == name)
    notebook = nbformat.read(path, as_version=4)
    manager = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="here",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.km = client.create_kernel_manager()
    client.km.kernel_spec_manager = manager
    with short:
        client.execute()
    shown = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    data = [output.get("data", {}) for output in shown]
    text = [
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in shown
    ]
    return [each["text/html"] for each in data if "text/html" in each], "\n".join(text)
