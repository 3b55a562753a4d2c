"""Proofs that one record was committed before a checkpoint was signed, checked by anybody, anywhere.

Enters, to prove: an open database, a record and a checkpoint. Leaves: a small JSON file. Enters, to check:
that file alone; no workspace and no database is read. The one rule: every byte of a proof is bound to the
signature, so that a proof with another byte anywhere is refused.

    {"batch", "checkpoint", "log_path", "path", "position", "record", "schema"}

record -> digest -> leaf -> ``path`` -> root of the batch -> head -> ``log_path`` -> log_root of the signed
checkpoint. Both paths have at most log2(n) hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fairbrush.chain import merkle
from fairbrush.chain.canonical import canonical_digest, canonical_json, parse_canonical
from fairbrush.chain.checkpoint import Checkpoint, check_signature, read_checkpoint_document
from fairbrush.chain.log import Batch, ChainedTable, Leaf, hash_of_leaf, plain
from fairbrush.chain.rows import row_reader, stream, told_where_unreadable
from fairbrush.chain.tables import ATTRIBUTIONS, BODY_DIGESTS, CHAINED_TABLES
from fairbrush.errors import ChainError, ProofRefusedError, RecordError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PROOF_SCHEMA = "fairbrush.proof/1"

_TABLES = {table.kind: table for table in CHAINED_TABLES}
_MOST_NAMED = 10


@dataclass(frozen=True)
class RecordName:
    """Where a record stands in the chain."""

    kind: str
    key: str
    position: int


@dataclass(frozen=True)
class Proven:
    """What a proof proves. ``record``: the columns that are hashed, and the body where there is one."""

    kind: str
    key: str
    digest: str
    position: int
    batch: int
    committed_at: datetime
    record: dict[str, Any]
    checkpoint: Checkpoint


@told_where_unreadable()
def find_record(connection: DuckDBPyConnection, name: str) -> RecordName:
    """A record by ``KIND:KEY``, or by a key that only one record has. Raises ChainError."""
    kind, colon, key = name.partition(":")
    if colon and kind in _TABLES:
        query, parameters = "kind = ? AND record_key = ?", [kind, key]
    elif colon:
        raise ChainError(f"There is no kind {kind!r} of record.", next_step=f"Known: {', '.join(_TABLES)}.")
    else:
        query, parameters = "record_key = ?", [name]
    rows = connection.execute(
        f"SELECT kind, record_key, position FROM chain_leaf WHERE {query} ORDER BY position"
        f" LIMIT {_MOST_NAMED + 1}",
        parameters,
    ).fetchall()
    if not rows:
        raise ChainError(
            f"No record {name} is in the chain.",
            next_step="Name it by its attribution_id or as KIND:KEY, such as entry:12;"
            " fairbrush report brings waiting answers into the database.",
        )
    if len(rows) > 1:
        named = ", ".join(f"{kind}:{key}" for kind, key, _ in rows[:_MOST_NAMED])
        raise ChainError(f"{name} names several records: {named}.", next_step="Name one as KIND:KEY.")
    return RecordName(*rows[0])


@told_where_unreadable()
def prove(connection: DuckDBPyConnection, name: RecordName, checkpoint: Checkpoint) -> bytes:
    """The proof, as the content of its file. Raises ChainError where the checkpoint is older than the record,
    or what is stored proves nothing."""
    batches = connection.execute(
        "SELECT batch, first_position, leaves, root, previous_head, committed_at FROM chain_batch"
        " WHERE first_position <= ? AND first_position + leaves > ?",
        [name.position, name.position],
    ).fetchall()
    if len(batches) != 1:
        raise _unproven(name)
    batch = Batch(*batches[0])
    if batch.batch >= checkpoint.batches:
        raise ChainError(
            f"{name.kind}:{name.key} was committed after the checkpoint of {checkpoint.time}.",
            next_step="Sign a newer one: fairbrush ledger checkpoint --key FILE -o FILE",
        )
    leaves = stream(
        connection,
        "SELECT kind, record_key, digest FROM chain_leaf WHERE position >= ? AND position < ?"
        " ORDER BY position",
        [batch.first_position, batch.first_position + batch.leaves],
    )
    heads = stream(
        connection, "SELECT head FROM chain_batch WHERE batch < ? ORDER BY batch", [checkpoint.batches]
    )
    document = {
        "schema": PROOF_SCHEMA,
        "record": _record(connection, name),
        "position": name.position,
        "batch": _batch_document(batch),
        "path": _path(
            (hash_of_leaf(*leaf) for leaf in leaves), name.position - batch.first_position, batch.leaves
        ),
        "log_path": _path(
            (merkle.leaf_hash(head.encode()) for (head,) in heads), batch.batch, checkpoint.batches
        ),
        "checkpoint": checkpoint.document,
    }
    content = canonical_json(document) + b"\n"
    try:
        check_proof(content)
    except ProofRefusedError as error:
        raise _unproven(name) from error
    return content


def check_proof(content: bytes, *, public_key: str | None = None) -> Proven:
    """Check a proof's file. public_key: whose signature is wanted; that in the proof where none is named.

    Raises ProofRefusedError where anything in it is not as it was written.
    """
    try:
        document = parse_canonical(content)
        if canonical_json(document) + b"\n" != content:
            raise _refused("it is not as it was written")
        return _proven(document, public_key)
    except ProofRefusedError:
        raise
    except RecordError as error:
        raise _refused(error.message) from error
    except ChainError as error:
        raise ProofRefusedError(
            f"The proof is refused: {error.message}", next_step=error.next_step
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _refused("it lacks what a proof has") from error


def _proven(document: dict[str, Any], public_key: str | None) -> Proven:
    names = {"schema", "record", "position", "batch", "path", "log_path", "checkpoint"}
    if set(document) != names or document["schema"] != PROOF_SCHEMA:
        raise _refused(f"it is no {PROOF_SCHEMA}")
    # from the signature down: nothing is trusted before what binds it
    checkpoint = read_checkpoint_document(document["checkpoint"])
    check_signature(checkpoint, public_key=public_key)
    batch = _batch(document["batch"])
    head = merkle.leaf_hash(batch.head.encode())
    log_root = merkle.root_from_path(head, batch.batch, checkpoint.batches, _hashes(document["log_path"]))
    if log_root is None or log_root.hex() != checkpoint.log_root:
        raise _refused("its batch is not in the log that was signed")
    leaf = _leaf(document["record"])
    place = document["position"] - batch.first_position
    root = merkle.root_from_path(leaf.hash, place, batch.leaves, _hashes(document["path"]))
    if root is None or root.hex() != batch.root:
        raise _refused("its record is not in the batch")
    record = {name: value for name, value in document["record"].items() if name not in ("kind", "key")}
    return Proven(
        leaf.kind,
        leaf.key,
        leaf.digest,
        document["position"],
        batch.batch,
        batch.committed_at,
        record,
        checkpoint,
    )


def _leaf(record: dict[str, Any]) -> Leaf:
    """The leaf that a record's content makes. Raises ProofRefusedError where its parts do not fit."""
    kind, key = record["kind"], record["key"]
    table = _TABLES.get(kind)
    if table is None:
        raise _refused(f"there are no records of kind {kind!r}")
    body: Any = record.get("body")
    parts = {"kind", "key"} | ({"body"} if kind in BODY_DIGESTS else set())
    columns = record["columns"]
    if set(record) != parts | {"columns"} or set(columns) != set(table.hashed):
        raise _refused("its columns are not those of such a record")
    if "/".join(str(columns[name]) for name in table.key) != key:
        raise _refused("its key is not that of its columns")
    if kind in BODY_DIGESTS and canonical_digest(body) != columns[BODY_DIGESTS[kind]]:
        raise _refused("its body has another digest")
    if kind == ATTRIBUTIONS.kind and canonical_digest(body["identity"]) != key:
        raise _refused("its id is not the digest of what was asked")
    return Leaf(kind, key, canonical_digest(columns))


def _record(connection: DuckDBPyConnection, name: RecordName) -> dict[str, Any]:
    table = _TABLES[name.kind]
    record: dict[str, Any] = {"kind": name.kind, "key": name.key}
    record["columns"] = _columns(connection, table, name)
    if name.kind in BODY_DIGESTS:
        (key,) = table.key
        rows = connection.execute(
            f"SELECT body::VARCHAR FROM {table.table} WHERE CAST({key} AS VARCHAR) = ?", [name.key]
        ).fetchall()
        if len(rows) != 1:
            raise _unproven(name)
        record["body"] = parse_canonical(rows[0][0])
    return record


def _columns(connection: DuckDBPyConnection, table: ChainedTable, name: RecordName) -> dict[str, Any]:
    reader = row_reader(connection, table)
    rows = connection.execute(
        f"SELECT {', '.join(reader.values)} FROM {table.table} WHERE {reader.key} = ?", [name.key]
    ).fetchall()
    if len(rows) != 1:
        raise _unproven(name)
    return {column: plain(value) for column, value in zip(sorted(table.hashed), rows[0], strict=True)}


def _path(leaves: Iterable[bytes], place: int, count: int) -> list[str]:
    """``merkle.inclusion_path`` over leaves that come one after the other."""
    ranges = merkle.sibling_ranges(place, count)
    builders = [merkle.RootBuilder() for _ in ranges]
    in_order = sorted(range(len(ranges)), key=lambda index: ranges[index])
    following = iter(in_order)
    current = next(following, None)
    for number, leaf in enumerate(leaves):
        while current is not None and number >= ranges[current][1]:
            current = next(following, None)
        if current is not None and ranges[current][0] <= number:
            builders[current].append(leaf)
    return [builder.root().hex() for builder in builders]


def _batch_document(batch: Batch) -> dict[str, Any]:
    return {
        "batch": batch.batch,
        "committed_at": plain(batch.committed_at),
        "first_position": batch.first_position,
        "leaves": batch.leaves,
        "previous_head": batch.previous_head,
        "root": batch.root,
    }


def _batch(document: dict[str, Any]) -> Batch:
    committed_at = datetime.fromisoformat(document["committed_at"])
    batch = Batch(**{**document, "committed_at": committed_at})
    if canonical_json(_batch_document(batch)) != canonical_json(document):
        raise _refused("its batch is not as it was written")
    return batch


def _hashes(path: Sequence[str]) -> list[bytes]:
    hashes = [bytes.fromhex(text) for text in path]
    if [hash_.hex() for hash_ in hashes] != list(path) or any(len(hash_) != 32 for hash_ in hashes):
        raise _refused("a hash of its paths is none")
    return hashes


def _refused(why: str) -> ProofRefusedError:
    return ProofRefusedError(
        f"The proof is refused: {why.rstrip('.')}.",
        next_step="Take another copy of the file that fairbrush ledger prove wrote.",
    )


def _unproven(name: RecordName) -> ChainError:
    return ChainError(
        f"{name.kind}:{name.key} cannot be proven: what is stored is not what was committed.",
        next_step="fairbrush ledger verify says what was done to it.",
    )
