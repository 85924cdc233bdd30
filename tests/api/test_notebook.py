"""The notebook of the documentation: it is stored without outputs, and runs from the first cell to the last."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NOTEBOOK = CHECKOUT / "docs" / "notebooks" / "own_model.ipynb"


def test_it_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.ray
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    for name, value in {
        "PYTHONPATH": str(CHECKOUT / "platform"),
        "NOTEBOOK_EPOCHS": "4",
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": short.name,
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
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
    html = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    pictures, report, table = html[0], html[1], html[2]
    assert pictures.count("data:image/png;base64,") == 6
    assert "Undefended, the strongest attack" in report
    assert "data:image/png;base64," in report
    assert "random_public" in table
