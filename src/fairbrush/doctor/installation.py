"""Checks of what is installed: Python, libraries, processor, encoder and, asked to look deep, devices.

Enters: a ``Patient``, for the settings. Leaves: ``Check``s. The one rule: torch is imported only when asked
to look deep.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import fairbrush
from fairbrush.config import CONFIG_NAME
from fairbrush.corpus.images import decoder_id, image_limits
from fairbrush.doctor.checks import Check, Patient, Status
from fairbrush.embedding.encoder import BUNDLED, Device, Encoder, load_encoder, parse_spec
from fairbrush.embedding.onnx_tower import REINSTALL, ExportFacts
from fairbrush.index.faiss_door import PACKAGES, installed_faiss

OLDEST_PYTHON = (3, 11)
# What fairbrush stands on, by the names the packages are installed under.
LIBRARIES = ("torch", "open_clip_torch", "duckdb", "onnxruntime", "numpy", "lmdb", "pillow")


def check_python() -> Iterator[Check]:
    enough = sys.version_info[:2] >= OLDEST_PYTHON
    wanted = ".".join(map(str, OLDEST_PYTHON))
    status, fix = (Status.OK, "") if enough else (Status.PROBLEM, f"install Python {wanted} or newer")
    system = f"{platform.system()} {platform.machine()}"
    yield Check("python", status, f"{platform.python_version()} on {system}, {sys.executable}", fix)
    try:
        how = f"{version('fairbrush')}, installed"
    except PackageNotFoundError:
        how = f"{fairbrush.__version__}, from its source folder"
    yield Check("fairbrush", Status.OK, f"{how}: {Path(fairbrush.__file__).parent}")


def check_library(name: str) -> Iterator[Check]:
    try:
        yield Check(name, Status.OK, version(name))
    except PackageNotFoundError:
        yield Check(name, Status.PROBLEM, "is not installed", f'pip install "{_requirement(name)}"')


def _requirement(name: str) -> str:
    """What fairbrush asks of a package, such as ``torch>=2.6``; its name alone when run from source."""
    try:
        wanted = requires("fairbrush") or []
    except PackageNotFoundError:
        wanted = []
    return next((one for one in wanted if re.match(rf"{name}\b(?!.*extra)", one, re.IGNORECASE)), name)


def check_faiss() -> Iterator[Check]:
    found = installed_faiss()
    named = " and ".join(f"{package} {number}" for package, number in found.items())
    if not found:
        yield Check("faiss", Status.PROBLEM, "none is installed", "pip install faiss-cpu")
    elif len(found) > 1:
        yield Check(
            "faiss",
            Status.PROBLEM,
            f"both are installed and break each other: {named}",
            f"pip uninstall -y {' '.join(PACKAGES)} && pip install faiss-cpu",
        )
    else:
        yield Check("faiss", Status.OK, named)


def check_processor(patient: Patient) -> Iterator[Check]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{allowed} of {os.cpu_count()} cores may be used; device = {patient.settings.device}"
    if patient.settings.device not in set(Device):
        known = ", ".join(Device)
        yield Check(
            "processor", Status.PROBLEM, f"{detail}, which is no device", f"set device to one of {known}"
        )
        return
    yield Check("processor", Status.OK, f"{detail}{'' if patient.deep else '; GPUs: with --deep'}")


def check_encoder(patient: Patient) -> Iterator[Check]:
    """Spec, weights and id, as far as they can be known without torch."""
    settings = patient.settings
    parsed = parse_spec(settings.encoder)
    if parsed.kind == "mini":
        facts = ExportFacts.read(BUNDLED)
        file = BUNDLED / "image_tower.onnx"
        if not file.is_file():
            yield Check("encoder", Status.PROBLEM, f"{settings.encoder}: {file} is not there", REINSTALL)
            return
        if hashlib.sha256(file.read_bytes()).hexdigest() != facts.onnx_sha256:
            yield Check("encoder", Status.PROBLEM, f"{settings.encoder}: {file} is damaged", REINSTALL)
            return
        patient.encoder = _load(patient, Device.CPU)
        yield Check("encoder", Status.OK, f"{settings.encoder}: {patient.encoder.encoder_id}")
        return
    if patient.deep:
        patient.encoder = _load(patient, Device.CPU)
        yield Check("encoder", Status.OK, f"{settings.encoder}: {patient.encoder.encoder_id}")
        return
    if parsed.kind == "local-dir" and not Path(parsed.model).expanduser().is_dir():
        yield Check(
            "encoder",
            Status.PROBLEM,
            f"{settings.encoder}: there is no such folder",
            f"put the weights there, or set encoder in {CONFIG_NAME}",
        )
        return
    yield Check(
        "encoder",
        Status.WARNING,
        f"{settings.encoder}: its weights and id are known only when torch loads it",
        patient.command("doctor --deep") if settings.workspace else "fairbrush doctor --deep",
    )


def _load(patient: Patient, device: Device) -> Encoder:
    settings = patient.settings
    limits = image_limits(settings)
    return load_encoder(
        settings.encoder, decoder_id=decoder_id(limits), device=device, threads=settings.threads
    )


def check_devices() -> Iterator[Check]:
    """What torch finds. Imports torch."""
    try:
        import torch
    except (ImportError, OSError) as error:
        detail = f"torch cannot be imported: {error}"
        fix = 'pip install --force-reinstall "torch>=2.6"'
        yield Check("devices", Status.PROBLEM, detail, fix)
        return
    cuda = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    mps = torch.backends.mps.is_available()
    found = [*(f"CUDA {name}" for name in cuda), *(["MPS"] if mps else [])]
    yield Check("devices", Status.OK, f"torch {torch.__version__} finds {', '.join(found) or 'no GPU'}")


def check_encoder_run(patient: Patient) -> Iterator[Check]:
    """One image through the encoder, on the device that the settings ask for."""
    import numpy as np

    encoder = _load(patient, Device(patient.settings.device))
    started = time.monotonic()
    [row] = encoder.embed([np.full((64, 64, 3), 200, np.uint8)])
    took_ms = 1000 * (time.monotonic() - started)
    sound = bool(np.isfinite(row).all()) and abs(float(np.linalg.norm(row)) - 1) < 1e-3
    detail = f"{encoder.variant} on {encoder.device}: {len(row)} numbers in {took_ms:.0f} ms"
    fix = "" if sound else f'set encoder = "mini" in {CONFIG_NAME}, or another device'
    yield Check("encoder run", Status.OK if sound else Status.PROBLEM, detail, fix)
