"""How long a look-up takes once the image is embedded: warm in one process, and cold in a new one.

Makes the demo's workspace in a temporary folder, then asks again and again about its cached queries. Prints a
Markdown table; the ratios of one run are what to read.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from fairbrush.config import load_settings
from fairbrush.lookup import Lookup

WARM = 200
COLD = 9


def cold(arguments: list[str], folder: Path, *, fresh: bool = False) -> float:
    """Median seconds of a whole process; ``fresh`` ends each command with a folder that is not there yet."""
    times = []
    for number in range(COLD):
        last = [str(folder / f"fresh-{number}")] if fresh else []
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments, *last],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def warm(lookup: Lookup, images: list[Path]) -> float:
    """Median seconds of one answer, recorded or not as the look-up says."""
    times = []
    for number in range(WARM):
        started = time.perf_counter()
        [_] = list(lookup.attribute([images[number % len(images)]]))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = [sys.executable, "-m", "fairbrush"]
        subprocess.run([*program, "demo"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        workspace = folder / "fairbrush-demo"
        images = sorted((workspace / "queries").iterdir())
        settings = load_settings(workspace=workspace)
        rows = []
        for text, record in (("warm, not recorded", False), ("warm, recorded (fsynced)", True)):
            with Lookup(settings, record=record) as lookup:
                rows.append((text, warm(lookup, images)))
        image = str(images[0])
        rows.append(("new process: python -c pass", cold(["-c", "pass"], workspace)))
        rows.append(("new process: fairbrush --version", cold(["-m", "fairbrush", "--version"], workspace)))
        rows.append(
            (
                "new process: fairbrush attribute IMAGE",
                cold(["-m", "fairbrush", "attribute", image], workspace),
            )
        )
        unseen = ["-m", "fairbrush", "embed", image, "--cache"]
        rows.append(
            ("new process: fairbrush embed of a never-seen IMAGE", cold(unseen, workspace, fresh=True))
        )
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, 12 artists\n"
        )
        print("| look-up, 12 artists | median, ms |\n|---|--:|")
        for text, seconds in rows:
            print(f"| {text} | {seconds * 1000:.1f} |")


if __name__ == "__main__":
    main()
