"""Run the README's console sessions and write their real output back into it.

tests/test_readme.py compares the two: run this after a change of what a command prints. The sessions run
in order, in one temporary folder that sees ``src`` as the checkout does.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)


def run(command: str, folder: Path) -> str:
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100"}
    environment.pop("XDG_CACHE_HOME", None)
    program = [sys.executable, "-m", "fairbrush", *shlex.split(command)[1:]]
    ran = subprocess.run(
        program, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return ran.stdout.replace(str(folder), "~")


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "src").symlink_to(ROOT / "src")

        def refresh(block: re.Match[str]) -> str:
            commands = re.findall(r"^\$ (fairbrush .*)$", block[2], flags=re.MULTILINE)
            sessions = [f"$ {command}\n{run(command, folder)}" for command in commands]
            return block[1] + "\n".join(sessions) + block[3]

        text = BLOCK.sub(refresh, text)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
