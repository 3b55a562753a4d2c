"""How often is an artist found, by the largest effect and by each alone, in simulated fine-tunes?

Enters: nothing. Leaves: a Markdown table on stdout, for docs/tuned.md. The fine-tunes are those of
tests/validation/test_tuning.py: images and styles are directions, a tuning moves images to the artist's
style with the name or without, and everything in a direction of no one's.

    python scripts/simulate_tuned.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from validation.test_tuning import rates

from fairbrush.accuracy.markdown import table
from fairbrush.validation.recognition.tuning import Effect

CASES = {
    "no tuning at all": {"tuned": False},
    "tuned on nobody, changes a little": {"drift": 0.3},
    "tuned on nobody, changes everything": {"drift": 3.0},
    "tuned on nobody, changes what is named": {"drift": 0.1, "by_name": 2.0},
    "tuned on somebody else": {"other": 0.6},
    "behind the name": {"behind": 0.4},
    "behind the name, changes everything": {"behind": 0.4, "drift": 2.0},
    "leaks": {"leak": 0.4},
    "leaks, changes what is named": {"leak": 0.4, "by_name": 2.0},
    "half behind the name, half leaks": {"behind": 0.2, "leak": 0.2, "drift": 0.6},
}


def main() -> None:
    rows = []
    for name, tuning in CASES.items():
        found = rates(**tuning)
        rows.append([name, *(f"{found[column]:.3f}" for column in ("p", *Effect))])
    print(table(["fine-tune", "largest effect", *(f"`{effect}` alone" for effect in Effect)], rows))


if __name__ == "__main__":
    main()
