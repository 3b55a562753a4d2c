"""``fairbrush`` and ``python -m fairbrush``: run the command line, and be the only place that exits."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line on ``sys.argv``."""
    # Hubs stay offline unless a command is told --allow-download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from fairbrush.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
