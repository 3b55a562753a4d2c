"""The one door to faiss: faiss-cpu or faiss-gpu, never both.

The two packages share one folder. Installed together, whichever came last overwrites half of the other,
and what is left crashes or searches wrongly; so both, and neither, are errors with a way out.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fairbrush.errors import FaissInstallError

PACKAGES = ("faiss-cpu", "faiss-gpu")


def installed_faiss() -> dict[str, str]:
    """The faiss packages that are installed, with their versions."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def import_faiss() -> Any:
    """The faiss module. Raises FaissInstallError where no faiss, or two, are installed."""
    found = installed_faiss()
    if not found:
        raise FaissInstallError(
            "No faiss is installed.",
            next_step='Install one: pip install "fairbrush[cpu]", or "fairbrush[gpu]" on Linux with CUDA.',
        )
    if len(found) > 1:
        both = " and ".join(f"{package} {number}" for package, number in found.items())
        raise FaissInstallError(
            f"Both {both} are installed; they share one folder and break each other.",
            next_step='pip uninstall faiss-cpu faiss-gpu, then install one: pip install "fairbrush[cpu]".',
        )
    import faiss

    return faiss
