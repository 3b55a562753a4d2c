"""``fairbrush ledger recompute`` as its user sees it."""

import json
from pathlib import Path

from workspaces import Gallery, answer, command, rows

from fairbrush.corpus.changes import open_registry


def test_one_record_by_the_beginning_of_its_id_and_all_records(workspace: Path, gallery: Gallery) -> None:
    works = next(iter(gallery.works.values()))
    assert command(workspace, "attribute", *works).code == 0
    (first, *_) = rows(workspace, "SELECT attribution_id FROM attribution ORDER BY recorded_at")
    one = answer(workspace, "ledger", "recompute", first["attribution_id"][:10])
    assert one["schema"] == "fairbrush.recomputed/1"
    same = {"from_inputs": "same", "from_vectors": "same", "detail": ""}
    assert one["records"] == [{**first, **same}]
    every = answer(workspace, "ledger", "recompute", "--all")["records"]
    assert len(every) == len(works)
    assert all(record.items() >= same.items() for record in every)


def test_an_altered_share_is_told_and_the_exit_code_says_so(workspace: Path, gallery: Gallery) -> None:
    assert command(workspace, "attribute", gallery.credited).code == 0
    assert len(rows(workspace, "SELECT 1 FROM attribution")) == 1
    with open_registry(workspace) as store:
        ((body,),) = store.connection.execute("SELECT body::TEXT FROM attribution").fetchall()
        changed = json.loads(body)
        changed["model_share_e12"] += 1
        store.connection.execute("UPDATE attribution SET body = ?", [json.dumps(changed)])
        ((key,),) = store.connection.execute("SELECT attribution_id FROM attribution").fetchall()
    ran = command(workspace, "ledger", "recompute", key)
    assert ran.code == 1
    assert "altered" in ran.text


def test_it_asks_for_one_record_or_for_all(workspace: Path) -> None:
    for words in ((), ("abc123456", "--all")):
        ran = command(workspace, "ledger", "recompute", *words)
        assert (ran.code, ran.stdout) == (2, b"")
        assert "--all" in ran.stderr
    ran = command(workspace, "ledger", "recompute", "deadbeef")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "There is no record 'deadbeef'" in ran.stderr
