"""Which faiss is installed is read from real package metadata, laid out in a folder of the test's own."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import fairbrush
from fairbrush.index.faiss_door import import_faiss, installed_faiss

SOURCE = Path(fairbrush.__file__).parents[1]


def install(folder: Path, name: str, number: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-{number}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")


def ask(site: Path) -> list[str]:
    """What ``import_faiss`` gives, or says, in a process that sees no packages but those in ``site``."""
    script = """
import json
from fairbrush.errors import FaissInstallError
from fairbrush.index.faiss_door import import_faiss
try:
    print(json.dumps(["imported", import_faiss().__file__]))
except FaissInstallError as error:
    print(json.dumps([error.message, error.next_step]))
"""
    # -I -S: neither the environment nor the virtual environment's own packages are seen
    before = f"import sys; sys.path[:0] = [{str(SOURCE)!r}, {str(site)!r}]\n"
    command = [sys.executable, "-I", "-S", "-c", before + script]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said: list[str] = json.loads(answer.stdout)
    return said


def test_no_faiss_names_both_extras(tmp_path: Path) -> None:
    message, next_step = ask(tmp_path)
    assert message == "No faiss is installed."
    assert "fairbrush[cpu]" in next_step
    assert "fairbrush[gpu]" in next_step


def test_both_are_refused_with_their_versions_and_the_way_out(tmp_path: Path) -> None:
    install(tmp_path, "faiss-cpu", "1.15.1")
    install(tmp_path, "faiss-gpu", "1.14.3")
    (tmp_path / "faiss.py").write_text("raise SystemExit('imported although broken')")
    message, next_step = ask(tmp_path)
    assert "faiss-cpu 1.15.1 and faiss-gpu 1.14.3" in message
    assert "pip uninstall faiss-cpu faiss-gpu" in next_step


def test_either_alone_is_imported(tmp_path: Path) -> None:
    for name in ("faiss-cpu", "faiss-gpu"):
        site = tmp_path / name
        site.mkdir()
        install(site, name, "1.15.1")
        (site / "faiss.py").write_text("")
        assert ask(site) == ["imported", str(site / "faiss.py")]


def test_the_installed_faiss_searches() -> None:
    import numpy as np

    faiss = import_faiss()
    assert installed_faiss() == {"faiss-cpu": version("faiss-cpu")}
    index = faiss.IndexFlatIP(3)
    index.add(np.eye(3, dtype=np.float32))
    similarity, row = index.search(np.array([[0.1, 0.9, 0.2]], np.float32), 1)
    assert (row.item(), similarity.item()) == (1, np.float32(0.9))
