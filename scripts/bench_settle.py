"""What it takes to settle a million shares in one run: seconds, and the memory of the process that settles.

Enters: nothing; a workspace is made up (250,000 images of 1 cent and more, four shares each over 1,789
artists, five currencies of 0, 2 and 3 decimals). Leaves: a Markdown table on stdout. Making the workspace is
not counted; settling runs in a process of its own and includes all rows, leaves and the commit.

    python scripts/bench_settle.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, datetime
from pathlib import Path
from random import Random

from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.chain.log import Append, insert_chained
from fairbrush.chain.tables import ATTRIBUTIONS, INDEX_VERSIONS, REVENUE
from fairbrush.corpus.changes import open_registry
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.policies import Pins, adopt
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.settlement import settle
from fairbrush.store import Store, insert_rows
from fairbrush.workspace import create_workspace

NOW = datetime(2026, 6, 1, 12)
DAY = date(2026, 1, 15)
PERIOD = "2026-01"
PINS = Pins("0123456789abcdef", "v0001")
MANIFEST = canonical_digest("manifest")
CURRENCIES = ("EUR", "USD", "JPY", "KWD", "GBP")
E12 = 10**12
SHARES = 4
_AT_ONCE = 25_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=250_000)
    parser.add_argument("--artists", type=int, default=1789)
    parser.add_argument("--settle", type=Path, help=argparse.SUPPRESS)  # what the process of its own does
    args = parser.parse_args()
    if args.settle is not None:
        print(json.dumps(settled(args.settle)))
        return
    print(f"{machine()}\n")
    print("| revenue | lines | images | shares | seconds | of them computing | peak RSS, MiB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, spread in [("a line an image", False), ("one line, spread", True)]:
            workspace = Path(scratch) / name
            make(workspace, args.images, args.artists, spread=spread)
            command = [sys.executable, __file__, "--settle", str(workspace)]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            took = json.loads(ran.stdout)
            print(
                f"| {name} | {took['lines']:,} | {took['images']:,} | {args.images * SHARES:,} "
                f"| {took['seconds']:.1f} | {took['cpu_s']:.1f} | {took['peak_mib']:,} |",
                flush=True,
            )


def settled(workspace: Path) -> dict[str, float]:
    """Settle, in this process."""
    started, started_cpu = time.perf_counter(), time.process_time()
    with open_registry(workspace) as store:
        report = settle(store, parse_period(PERIOD), now=NOW)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    (settlement,) = report.settlements
    assert not report.unsettled
    return {
        "lines": settlement.lines,
        "images": settlement.images,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def make(workspace: Path, images: int, artists: int, *, spread: bool) -> None:
    """A workspace with everything recorded and nothing settled."""
    rng = Random(0)
    create_workspace(workspace)
    with open_registry(workspace) as store, store.transaction() as connection:
        row = (MANIFEST, PINS.version, None, "mini", PINS.space_id, artists, 20 * artists, 0.25, NOW)
        insert_chained(connection, INDEX_VERSIONS, [row], now=NOW)
        names = [f"artist-{number:05}" for number in range(artists)]
        insert_rows(connection, "payee", [(f"p-{name}", name, NOW) for name in names])
        insert_rows(connection, "creator", [(f"c-{name}", name, f"p-{name}", NOW) for name in names])
        insert_rows(connection, "artist", [(name, name, f"c-{name}", NOW) for name in names])
        consent_rows = [
            (n, name, "opted_in", NOW, NOW, "bench", None, None, None) for n, name in enumerate(names)
        ]
        insert_rows(connection, "consent_event", consent_rows)
        adopt(store, {"platform_fee": 0.1}, effective_from=date(2026, 1, 1), now=NOW, current=PINS)
        for first in range(0, images, _AT_ONCE):
            add_images(store, range(first, min(first + _AT_ONCE, images)), names, rng, spread=spread)
        if spread:
            total = "0000spread"
            row = (total, total, "EUR", images * 3, DAY, DAY, None, None, "weight", "digest", NOW)
            insert_chained(connection, REVENUE, [row], now=NOW)


def add_images(store: Store, numbers: range, names: list[str], rng: Random, *, spread: bool) -> None:
    """Records of these images, and what they brought in."""
    attributions, shares, revenue, weights = [], [], [], []
    for number in numbers:
        image = canonical_digest(number)
        body = record_body(image, rng.sample(names, SHARES), rng)
        identity = canonical_digest(body["identity"])
        text = canonical_json(body).decode()
        digest = canonical_digest(body)
        made_by = ("sd-1.5", "mini", "torch-fp32", "v0001", MANIFEST, "eligible", None, Policy().digest)
        split = ("blend", "0.5", "1", body["model_share_e12"], body["unattributed_e12"], None)
        attributions.append((identity, image, None, *made_by, *split, NOW, text, digest, "{}"))
        for rank, share in enumerate(body["shares"], start=1):
            name, part = share["artist_id"], share["share_e12"]
            shares.append((identity, name, f"c-{name}", f"p-{name}", part, 0.5, 0.75, 0.25, rank))
        if spread:
            weights.append(("0000spread", image, rng.randrange(1, 10**7)))
        else:
            reference, currency = f"line {number}", CURRENCIES[number % len(CURRENCIES)]
            revenue_id = canonical_digest({"reference": reference})
            amount = rng.choice([1, 1, 2, 5, 120])
            revenue.append((revenue_id, reference, currency, amount, DAY, DAY, image, None, None, None, NOW))
    connection = store.connection
    insert_rows(connection, "attribution_share", shares)
    insert_rows(connection, "revenue_image", weights)
    append = Append(connection)
    append.insert(ATTRIBUTIONS, attributions)
    append.insert(REVENUE, revenue)
    append.commit(now=NOW)


def record_body(image: str, artists: list[str], rng: Random) -> dict:
    cuts = sorted(rng.randrange(1, E12 // 2) for _ in range(SHARES))
    parts = [after - before for before, after in zip([0, *cuts], cuts, strict=False)]
    return {
        "schema": "fairbrush.record/1",
        "identity": {"image_sha256": image, "model_id": "sd-1.5"},
        "policy": {"b": "0.5", "w": "1", "model": "sd-1.5"},
        "model_share_e12": E12 // 2,
        "unattributed_e12": E12 // 2 - sum(parts),
        "shares": [{"artist_id": name, "share_e12": part} for name, part in zip(artists, parts, strict=True)],
    }


def machine() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
