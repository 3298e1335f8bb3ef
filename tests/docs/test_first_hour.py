"""docs/first_hour.ipynb runs from its first cell to its last."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the package nbformat")
nbclient = pytest.importorskip("nbclient", reason="needs the package nbclient")
pytest.importorskip("ipykernel", reason="needs the package ipykernel")
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "first_hour.ipynb"


def test_the_notebook_runs(tmp_path, repo, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repo))
    notebook = nbformat.read(PAGE, as_version=4)
    context = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=context).execute()
    images = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(images) == 1
    assert (tmp_path / "first_hour" / "output").is_dir()
