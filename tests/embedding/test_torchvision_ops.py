"""torchvision beside a torch it was not built for, each case in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import fairbrush

SOURCE = Path(fairbrush.__file__).parents[1]
BEFORE = "import sys\nfrom fairbrush.embedding import torchvision_ops as ops\n"


def run_python(script: str, *, first_on_path: Path | None = None) -> str:
    folders = [str(folder) for folder in (first_on_path, SOURCE) if folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-c", BEFORE + script]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return answer.stdout.strip()


def make_torchvision(folder: Path, extension: str) -> Path:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "extension.py").write_text(extension)
    return folder


def test_open_clip_imports_and_transforms_work_and_a_second_call_changes_nothing() -> None:
    """With this machine's torchvision, whether whole or built for CUDA beside a torch for CPUs."""
    script = """
ops.make_torchvision_importable()
declared, modules = list(ops._declared), set(sys.modules)
ops.make_torchvision_importable()
assert ops._declared == declared and set(sys.modules) == modules
import open_clip
from PIL import Image
from torchvision import transforms
pipeline = transforms.Compose([transforms.Resize(4), transforms.CenterCrop(4), transforms.ToTensor()])
values = pipeline(Image.new("RGB", (9, 6), (255, 51, 0)))
print([round(channel.mean().item(), 3) for channel in values], len(open_clip.list_models()) > 50)
"""
    assert run_python(script) == "[1.0, 0.2, 0.0] True"


def test_a_whole_torchvision_is_left_alone(tmp_path: Path) -> None:
    whole = make_torchvision(tmp_path, "")
    script = "ops.make_torchvision_importable(); print(ops._declared, 'torch' in sys.modules)"
    assert run_python(script, first_on_path=whole) == "[] False"


def test_another_failure_of_torchvision_is_not_hidden(tmp_path: Path) -> None:
    broken = make_torchvision(tmp_path, "raise RuntimeError('no space left on device')")
    script = """
try:
    ops.make_torchvision_importable()
except RuntimeError as error:
    print(error, ops._declared)
"""
    assert run_python(script, first_on_path=broken) == "no space left on device []"
