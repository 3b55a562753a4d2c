"""Everything that must hold before a change lands: style, types, layers, tests. Run by .ci/run.

Stops at the first step that fails and exits with its code.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
STEPS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "not slow and not gpu"),
)


def main() -> int:
    # Two OpenMP teams on a busy machine run many times slower than one thread each.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for tool, *arguments in STEPS:
        print(f"== {tool} {' '.join(arguments)}", flush=True)
        code = subprocess.run([BIN / tool, *arguments, *extra(tool)], cwd=ROOT, env=environment).returncode
        if code:
            return code
    return 0


def extra(tool: str) -> list[str]:
    """What was written after check.py goes to pytest: ``check.py tests/game -k mixture``."""
    return sys.argv[1:] if tool == "pytest" else []


if __name__ == "__main__":
    sys.exit(main())
