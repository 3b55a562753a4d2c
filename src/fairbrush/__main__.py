"""``fairbrush`` and ``python -m fairbrush``: run the command line, and be the only place that exits."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line on ``sys.argv``."""
    # Whether a hub is offline is its backend's to say: here it would also hold back --allow-download.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    _open_closed_streams()
    try:
        from fairbrush.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C while the imports run, or a second one while the first is obeyed
        code = 130
    if code == 130:
        # Python kills itself at a normal exit if the Ctrl-C fell into an exec(), such as a dataclass's
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _open_closed_streams() -> None:
    """A caller may close standard streams (``2>&-``): the cache's file must not take their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # open() takes the lowest number that is free: this one; decoding processes need it too
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python leaves None where a stream was closed when it started
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    main()
