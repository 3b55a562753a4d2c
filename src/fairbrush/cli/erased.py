"""What ``artist erase`` and ``payee erase`` answer: what was removed, what moved, the proof of absence."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import Format, emit, say
from fairbrush.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from fairbrush.absence import Absence
    from fairbrush.config import Settings
    from fairbrush.erasing import Erased
    from fairbrush.store import Store

ProofOption = Annotated[
    Path | None, typer.Option("--proof", help="Write the proof of absence to this new file, as JSON.")
]


def check_proof_file(proof: Path | None) -> None:
    """Before anything is erased. Raises ConfigError."""
    if proof is None:
        return
    if os.path.lexists(proof):
        raise ConfigError(f"{proof} exists.", next_step="Name a file that does not exist yet.")
    try:
        proof.touch(exist_ok=False)
        proof.unlink()
    except OSError as error:
        raise ConfigError(
            f"{proof} cannot be written: {error.strerror or error}.", next_step="Choose another."
        ) from error


def erase_and_search(
    settings: Settings, workspace: Path, erase: Callable[[Store, Path], Erased]
) -> tuple[Erased, Absence]:
    """Erase somebody, then search everything for what is left of them.

    ``erase``: is given the registry and the embedding cache's folder.
    """
    from fairbrush.absence import search_files, search_registry
    from fairbrush.corpus.changes import open_registry

    cache = settings.cache_folder
    with open_registry(workspace, wait_s=settings.database_wait_s) as store:
        erased = erase(store, cache)
        absence = search_registry(store, cache, erased.traces)
    return erased, search_files(absence, workspace, cache, erased.traces)


def answer_erased(
    subject: dict[str, str],
    erased: Erased,
    absence: Absence,
    format_: Format,
    *,
    schema: str,
    proof: Path | None,
    output: Path | None,
) -> None:
    """Print it all; ends with exit code 1 where something was found that should not be there."""
    from fairbrush.ledger.currency import format_amount
    from fairbrush.store import utc_now

    removed = {"works": erased.works, **_removed(erased)}
    document = {
        "schema": schema,
        **subject,
        **removed,
        "money": [
            {
                "account": str(one.account.kind),
                "holder": one.account.holder,
                "subject": one.account.subject,
                "currency": one.currency,
                "amount_minor": one.amount_minor,
            }
            for one in erased.money
        ],
        "owed": [
            {"payee_id": payee_id, "currency": currency, "amount_minor": minor}
            for payee_id, amounts in erased.owed.items()
            for currency, minor in sorted(amounts.items())
        ],
        "proof": absence.document(now=utc_now()),
    }
    unwritten = _write_proof(proof, document["proof"])
    if format_ is Format.TABLE:
        facts = [(name.replace("_", " "), str(count)) for name, count in {**subject, **removed}.items()]
        facts += _proof_lines(absence)
        emit([{"": name, " ": value} for name, value in facts], format_, output=output)
    else:
        emit([{**subject, **removed, "absent": absence.is_absent}], format_, document=document, output=output)
    for one in document["owed"]:
        amount = f"{format_amount(one['amount_minor'], one['currency'])} {one['currency']}"
        say(f"Still owed to the payee {one['payee_id']}: {amount}; it keeps its name until it is paid.")
        say(f"  next: pay it, then fairbrush payee erase {one['payee_id']}")
    if erased.refused.lines_dropped:
        say(f"{erased.refused.lines_dropped} damaged records that named them could not be read: deleted.")
    if erased.was_interrupted:
        say("The erasure was interrupted before: what they were called is not known, nor was searched for.")
    if unwritten:
        say(f"The proof could not be written: {proof}: {unwritten}. Keep this answer instead.")
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)
    if not absence.is_absent:
        say("Something was found that should not be there; see the proof.")
        say("  next: erase again once nothing else uses the workspace, and report this if it stays.")
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _write_proof(file: Path | None, proof: dict[str, Any]) -> str | None:
    """Why it could not be written: what was searched for is known to nobody any more."""
    if file is None:
        return None
    try:
        file.write_text(json_module.dumps(proof, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        return error.strerror or str(error)
    return None


def _removed(erased: Erased) -> dict[str, Any]:
    dropped, refused = erased.dropped, erased.refused
    counts: dict[str, Any] = {
        name: value for name, value in asdict(dropped).items() if name not in ("cache", "database")
    }
    counts |= {
        "paths_cleared": erased.paths_cleared,
        "texts_cleared": erased.texts_cleared,
        "damaged_records_cleared": refused.lines_cleared,
        "damaged_records_deleted": refused.lines_dropped,
    }
    for name, file in (("database", dropped.database), ("cache", dropped.cache)):
        counts[f"{name}_bytes_before"] = file.bytes_before if file else 0
        counts[f"{name}_bytes_after"] = file.bytes_after if file else 0
        counts[f"{name}_rewritten_s"] = round(file.elapsed_s, 3) if file else 0.0
    return counts


def _proof_lines(absence: Absence) -> list[tuple[str, str]]:
    from fairbrush.absence import NOT_REACHED

    sought = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in absence.searched_for.items() if count
    )
    lines = [("searched for", sought or "the id alone")]
    lines += [(f"searched {one.place}", f"{one.count} {one.what}") for one in absence.searched]
    lines += [("found", f"{one.place}: {one.count} ({one.what})") for one in absence.found] or [
        ("found", "nothing that should not be there")
    ]
    lines += [("stays", f"{one.place}: {one.count} ({one.what}): {one.why}") for one in absence.stays]
    if absence.pseudonym:
        lines.append(("the id stays in", ", ".join(f"{t} ({n})" for t, n in absence.pseudonym.items())))
    return [*lines, *(("not reached", what) for what in NOT_REACHED)]
