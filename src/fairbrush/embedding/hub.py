"""The Hugging Face hub, open or shut for this process: shut unless a user allowed a download."""

from __future__ import annotations

import os
import sys


def set_hub(*, online: bool) -> None:
    """Let the Hugging Face libraries open sockets, or not, whether they are imported yet or not."""
    os.environ["HF_HUB_OFFLINE"] = "0" if online else "1"
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = not online  # it read the variable when it was first imported
