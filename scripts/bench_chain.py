"""How long the chain takes on this machine: to append records, to verify all of them, to prove one.

In: a number of records. Out: a Markdown table on stdout. The one rule: postings are written by the same code
as the program's own, in batches of different sizes, and verified as ``fairbrush ledger verify`` does.

    python scripts/bench_chain.py --records 1000000
"""

import argparse
import platform
import resource
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from fairbrush.chain.checkpoint import new_key, read_key, sign_checkpoint
from fairbrush.chain.log import Append
from fairbrush.chain.proof import check_proof, find_record, prove
from fairbrush.chain.verify import verify_chain
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, post
from fairbrush.ledger.protected import verify_ledger
from fairbrush.store import Store, utc_now

ARTISTS_AN_ENTRY = 1000


def append(store: Store, records: int) -> None:
    """Entries of a thousand postings, a hundred entries a batch."""
    entries = records // (ARTISTS_AN_ENTRY + 2)
    for first in range(0, entries, 100):
        with store.transaction() as connection:
            batch = Append(connection)
            for number in range(first, min(first + 100, entries)):
                paid = [
                    Posting(Account(AccountKind.PAYABLE, f"payee-{n}", f"artist-{n}"), "EUR", 1 + n % 7)
                    for n in range(ARTISTS_AN_ENTRY)
                ]
                earned = Posting(Account(AccountKind.REVENUE), "EUR", -sum(one.amount_minor for one in paid))
                post(
                    batch,
                    connection,
                    EntryKind.SETTLEMENT,
                    [earned, *paid],
                    reference=f"settlement-{number}",
                    policy_digest="0" * 64,
                    now=utc_now(),
                )
            batch.commit(now=utc_now())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    records = parser.parse_args().records
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}\n")
    print("| step | seconds | peak MiB so far |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder)

        def timed(name, work):
            start = perf_counter()
            answer = work()
            print(f"| {name} | {perf_counter() - start:.2f} | {peak_mib():.0f} |", flush=True)
            return answer

        with Store.open(space, create=True) as store:
            timed("append", lambda: append(store, records))
        with Store.open(space, readonly=True) as store:
            seen = timed("verify the chain alone", lambda: verify_chain(store.connection)).end
            found = timed("verify all", lambda: verify_ledger(store.connection))
            assert found.is_sound, found.findings
            new_key(space / "key.pem")
            signed = sign_checkpoint(seen, read_key(space / "key.pem"), now=datetime.now(UTC))
            name = find_record(store.connection, "posting:1/500")
            proof = timed("prove one", lambda: prove(store.connection, name, signed))
        timed("check the proof", lambda: check_proof(proof))
    print(f"\n{seen.leaves} records in {seen.batches} batches; the proof has {len(proof)} bytes.")


if __name__ == "__main__":
    main()
