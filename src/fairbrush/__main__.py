"""``fairbrush`` and ``python -m fairbrush``: run the command line, and be the only place that exits."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line on ``sys.argv``."""
    # Whether a hub is offline is its backend's to say: here it would also hold back --allow-download.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from fairbrush.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C while the imports run, or a second one while the first is obeyed
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
