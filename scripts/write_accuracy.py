"""Write docs/accuracy.md and its figure from a full run of ``fairbrush bench accuracy``.

Enters: nothing; options are handed to the command. Leaves: docs/accuracy.md and docs/accuracy.svg.
Needs the extra ``report``; takes some minutes on two cores.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
FIGURE = "accuracy.svg"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # a relative folder, since the report quotes the command
        command = ["bench", "accuracy", "--output-dir", "accuracy", *sys.argv[1:]]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        subprocess.run(
            [sys.executable, "-m", "fairbrush", *command],
            cwd=folder,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        made = Path(folder) / "accuracy"
        text = (made / "report.md").read_text(encoding="utf-8").replace("](figure.svg)", f"]({FIGURE})")
        (DOCS / "accuracy.md").write_text(text, encoding="utf-8")
        shutil.copy(made / "figure.svg", DOCS / FIGURE)


if __name__ == "__main__":
    main()
