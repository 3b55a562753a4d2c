"""What an answer of many rows takes of memory: the peak of `fairbrush sql`, beyond that of one row.

Enters: nothing; the rows are made by the query. Leaves: a Markdown table on stdout. Linux and macOS.

    python scripts/bench_answers.py
    python scripts/bench_answers.py --rows 1000000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_settle import machine

FIVE = """
    SELECT range AS n, 'artist ' || range AS name, range / 7 AS share, range % 2 = 0 AS is_even,
        TIMESTAMP '2026-01-01' + to_seconds(range) AS moment"""
LONG = "SELECT range AS n, repeat(md5(range::VARCHAR), 300) AS text"
FORMATS = ("csv", "nl", "json", "parquet", "xlsx")
UNIT = 1 if sys.platform == "darwin" else 1024  # of the peak the system tells


def peak_mb(workspace: Path, query: str, format_: str) -> float:
    """Of a process of its own."""
    words = ("--workspace", workspace, "sql", query, "-o", workspace / f"answer.{format_}")
    command = [sys.executable, "-m", "fairbrush", *map(str, words)]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    return used.ru_maxrss * UNIT / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--long-rows", type=int, default=30_000)
    given = parser.parse_args()
    print(f"Machine: {machine()}\n\n| rows | {' | '.join(FORMATS)} |\n|---|{'--:|' * len(FORMATS)}")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        subprocess.run([sys.executable, "-m", "fairbrush", "init", folder], check=True, capture_output=True)
        for query, rows, called in (
            (FIVE, given.rows, "of five columns"),
            (LONG, given.long_rows, "of 9,600 characters"),
        ):
            cells = []
            for format_ in FORMATS:
                one, many = (peak_mb(workspace, f"{query} FROM range({n})", format_) for n in (1, rows))
                cells.append(f"{many - one:.0f}")
            print(f"| {rows:,} {called} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
