"""What the overview of a large platform costs: seconds of the whole command, its memory, and the page's size.

Enters: nothing; a workspace is made up (records, revenue and a settlement as in bench_settle, spread over a
year; an index of as many artists, with thumbnails from the bundled gallery). Leaves: a Markdown table on
stdout. Making the workspace is not counted.

    python scripts/bench_overview.py
    python scripts/bench_overview.py --images 5000 --artists 400 --keep FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench_settle import NOW, PERIOD, machine, make
from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.changes import open_registry
from fairbrush.demo import GALLERY
from fairbrush.index.build import ArtistWorks, build_index
from fairbrush.index.history import record_versions
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.settlement import settle
from fairbrush.store import insert_rows
from fairbrush.style.space import fit_style_space
from fairbrush.style.strangers import cross_fit
from fairbrush.workspace import INDEXES, THUMBNAILS

DIM = 512
WORKS = 10
PANEL_HANDS, PANEL_WORKS = 40, 4
SCHOOLS = 12  # artists are alike in groups, as real ones are


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=250_000)
    parser.add_argument("--artists", type=int, default=1789)
    parser.add_argument("--keep", type=Path, help="make the workspace and the page here, and leave them")
    args = parser.parse_args()
    print(f"{machine()}\n")
    print("| look-ups | artists | format | seconds | of them computing | peak RSS, MiB | size, MB |")
    print("|--:|--:|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        workspace = folder / "space"
        make(workspace, args.images, args.artists, spread=False)
        complete(workspace, args.artists)
        for format_ in ("json", "html"):
            took = measured(workspace, folder / f"overview.{format_}")
            print(
                f"| {args.images:,} | {args.artists:,} | {format_} | {took['seconds']:.1f} "
                f"| {took['cpu_s']:.1f} | {took['peak_mib']:,.0f} | {took['mb']:.1f} |",
                flush=True,
            )


def complete(workspace: Path, artists: int) -> None:
    """Settle, spread the look-ups over a year, register works with thumbnails, and index them."""
    rng = np.random.default_rng(0)
    pictures = sorted(GALLERY.rglob("*.webp"))
    schools = rng.normal(size=(SCHOOLS, DIM))
    indexed, rows = [], []
    (workspace / THUMBNAILS).mkdir(exist_ok=True)
    for number in range(artists):
        name = f"artist-{number:05}"
        style = schools[number % SCHOOLS] + 0.7 * rng.normal(size=DIM)
        vectors = (style + 0.8 * rng.normal(size=(WORKS, DIM))).astype(np.float32)
        digests = [canonical_digest([number, work]) for work in range(WORKS)]
        indexed.append(ArtistWorks(name, f"c-{name}", digests, vectors))
        for work, digest in enumerate(digests):
            rows.append((digest, name, f"/none/{digest}", NOW, None))
            os.link(
                pictures[(number * WORKS + work) % len(pictures)], workspace / THUMBNAILS / f"{digest}.webp"
            )
    hands = [f"hand-{n}" for n in range(PANEL_HANDS) for _ in range(PANEL_WORKS)]
    centres = np.repeat(rng.normal(size=(PANEL_HANDS, DIM)), PANEL_WORKS, axis=0)
    panel = (centres + 0.5 * rng.normal(size=(len(hands), DIM))).astype(np.float32)
    space = fit_style_space(panel, hands)
    version = build_index(
        workspace / INDEXES,
        indexed,
        space=space,
        strangers=cross_fit(space, panel, hands),
        encoder_id="bench#0123456789abcdef",
        variant="bench-float32",
    )
    with open_registry(workspace) as store:
        settle(store, parse_period(PERIOD), now=NOW)
        record_versions(store, [version])
        insert_rows(store.connection, "work", rows)
        store.connection.execute(
            "UPDATE attribution"
            " SET recorded_at = recorded_at - INTERVAL 1 HOUR * (hash(attribution_id) % 8760)::INT"
        )


def measured(workspace: Path, output: Path) -> dict[str, float]:
    """One command in a process of its own, started cold."""
    words = ["--workspace", str(workspace), "report", "overview", "--output", str(output)]
    program = (
        "import json, resource, sys\nfrom fairbrush.cli.app import run\n"
        f"code = run({words!r})\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))\nsys.exit(code)\n"
    )
    started = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    cpu_s, peak_mib = json.loads(ran.stdout)
    return {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_mib": peak_mib,
        "mb": output.stat().st_size / 1e6,
    }


if __name__ == "__main__":
    main()
