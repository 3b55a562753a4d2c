"""``fairbrush attribute`` as a user types it: the answer in every format, and what cannot be answered."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from running import Fairbrush, wait_until
from workspaces import Gallery, answer, command, pending, rows

SCHEMA_FIELDS = {
    *("attribution_id", "image", "model", "model_share", "unattributed", "artists", "value_function"),
    *("b", "w", "policy_digest", "encoder", "index_version", "eligibility_digest", "calibration_id"),
    *("certificate", "hint", "confidence", "reason"),
}
ARTIST_FIELDS = {
    *("artist", "artist_id", "creator_id", "payee_id", "share", "share_e12", "similarity", "z"),
    *("interval", "evidence"),
}


def test_every_answer_has_the_schemas_fields_and_sums_to_one(gallery: Gallery) -> None:
    assert len(gallery.answers) == 30
    for document in gallery.answers.values():
        assert document["schema"] == "fairbrush.attribution/1"
        assert document.keys() >= SCHEMA_FIELDS
        assert set(document["image"]) == {"path", "sha256"}
        assert set(document["encoder"]) == {"id", "variant", "device"}
        shares = document["artists"]
        assert all(share.keys() >= ARTIST_FIELDS for share in shares)
        total = document["model_share"] + document["unattributed"] + sum(s["share"] for s in shares)
        assert abs(total - 1) <= 1e-12
        integers = [document["model_share_e12"], document["unattributed_e12"]]
        assert sum(integers) + sum(share["share_e12"] for share in shares) == 10**12
        assert (document["reason"] is None) == bool(shares)
    evidence = gallery.answers[gallery.credited]["artists"][0]["evidence"]
    known = {work["sha256"] for work in rows(gallery.workspace, "SELECT sha256 FROM work")}
    assert 0 < len(evidence) <= 3
    assert {work["work_sha256"] for work in evidence} <= known


def test_files_folders_and_quoted_globs_find_the_same_images(workspace: Path, gallery: Gallery) -> None:
    works = next(iter(gallery.works.values()))
    folder = works[0].parent

    def ids(*images: object) -> list[str]:
        ran = command(workspace, "attribute", *images, "--nl", "--no-record")
        assert ran.code == 0, ran.stderr
        return [json.loads(line)["attribution_id"] for line in ran.stdout.splitlines()]

    expected = [gallery.answers[work]["attribution_id"] for work in works]
    assert ids(*works) == expected
    assert ids(folder) == expected
    assert ids(folder / "*.webp") == expected
    assert ids(folder.parent / "**" / works[0].name) == expected[:1]
    nothing = command(workspace, "attribute", folder / "nothing*", "--no-record")
    assert (nothing.code, "nothing*: missing" in nothing.stderr) == (1, True)


def test_a_file_whose_name_is_a_pattern_is_that_file(
    workspace: Path, gallery: Gallery, tmp_path: Path
) -> None:
    odd = Path(shutil.copy(gallery.credited, tmp_path / "[a]*.webp"))
    document = answer(workspace, "attribute", odd, "--no-record")
    assert [one["image"]["path"] for one in document["attributions"]] == [str(odd)]


def test_all_formats_agree(workspace: Path, gallery: Gallery, tmp_path: Path) -> None:
    image = gallery.credited
    document = answer(workspace, "attribute", image)
    assert document["schema"] == "fairbrush.attributions/1"
    (one,) = document["attributions"]
    assert document["failures"] == []
    assert json.loads(command(workspace, "attribute", image, "--nl").stdout) == one
    text = command(workspace, "attribute", image, "--csv").text
    table = [(row["to"], row["id"], float(row["share"])) for row in csv.DictReader(io.StringIO(text))]
    assert table == [
        ("model sd-1.5", "sd-1.5", one["model_share"]),
        *((share["artist"], share["artist_id"], share["share"]) for share in one["artists"]),
        ("(unattributed)", "", one["unattributed"]),
    ]
    file = tmp_path / "answer.parquet"
    assert command(workspace, "attribute", image, "--format", "parquet", "-o", file).code == 0
    with duckdb.connect() as connection:
        read = connection.read_parquet(str(file)).project("\"to\", coalesce(id, ''), share").fetchall()
    assert read == table
    shown = command(workspace, "attribute", image).text
    lines = shown.split("\n\n")[0].splitlines()[1:]
    assert [line.split("  ")[1] for line in lines] == [row[0] for row in table]
    assert f"{image}: {one['confidence']}; " in shown


def test_intervals_and_the_word_are_in_the_answer_unless_left_out(workspace: Path, gallery: Gallery) -> None:
    [one] = answer(workspace, "attribute", gallery.credited)["attributions"]
    for share in one["artists"]:
        low, high = share["interval"]
        assert 0 <= low <= share["share"] + 1e-12
        assert share["share"] - 1e-12 <= high <= 0.5
    assert one["confidence"] in ("clear", "mixed", "weak")
    assert 0 <= one["steadiness"] <= 1
    assert 0 < one["detectability_floor"] <= 1
    [quick] = answer(workspace, "attribute", gallery.credited, "--no-intervals")["attributions"]
    assert quick["attribution_id"] == one["attribution_id"]
    assert [share["interval"] for share in quick["artists"]] == [None] * len(one["artists"])
    assert quick["confidence"] is None
    rows_told = list(
        csv.DictReader(io.StringIO(command(workspace, "attribute", gallery.credited, "--csv").text))
    )
    assert [float(row["low"]) for row in rows_told[1:-1]] == [s["interval"][0] for s in one["artists"]]


@pytest.mark.parametrize("value", ["blend", "nearest", "facets", "reconstruction"])
def test_each_value_function_is_an_answer_of_its_own_in_the_record(
    workspace: Path, gallery: Gallery, value: str
) -> None:
    [one] = answer(workspace, "attribute", gallery.credited, "--value", value)["attributions"]
    assert one["value_function"]["name"] == value
    recorded = rows(workspace, "SELECT attribution_id, value_function FROM attribution")
    assert {"attribution_id": one["attribution_id"], "value_function": value} in recorded
    [default] = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert (default["attribution_id"] == one["attribution_id"]) == (value == "blend")


def test_why_says_why_each_artist_is_or_is_not_credited(workspace: Path, gallery: Gallery) -> None:
    image = gallery.credited
    [one] = answer(workspace, "attribute", image)["attributions"]
    credited = one["artists"][0]["artist"]
    other = next(
        row["artist"] for row in answer(workspace, "artist", "list")["artists"] if row["artist"] != credited
    )
    ran = command(workspace, "attribute", image, "--why", credited, "--why", other)
    assert f"{image}: {credited}: credited" in ran.text
    assert f"{image}: {other}: " in ran.text
    assert "nearest works" in ran.text
    [told] = answer(workspace, "attribute", image, "--why", other)["attributions"]
    [reason] = told["why"]
    assert (reason["artist"], len(reason["evidence"])) == (other, 3)
    assert reason["z"] <= reason["threshold"] or reason["left_over"] <= 0
    assert command(workspace, "artist", "consent", other, "opted_out").code == 0
    ran = command(workspace, "attribute", image, "--why", other)
    assert "may not be credited for images of this model" in ran.text
    ran = command(workspace, "attribute", image, "--why", "Nobody Known")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "No artist is called 'Nobody Known'" in ran.stderr


def test_asking_again_gives_the_same_id_and_one_record(workspace: Path, gallery: Gallery) -> None:
    image = gallery.credited
    ids = {answer(workspace, "attribute", image)["attributions"][0]["attribution_id"] for _ in range(3)}
    assert ids == {gallery.answers[image]["attribution_id"]}  # there it was one of a batch of thirty
    assert len(pending(workspace)) == 3
    (row,) = rows(workspace, "SELECT attribution_id, image_path FROM attribution")
    assert (row["attribution_id"], row["image_path"]) == (ids.pop(), str(image))
    assert pending(workspace) == []
    assert command(workspace, "attribute", image).code == 0
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 1}]


def test_no_record_writes_nothing(workspace: Path, gallery: Gallery) -> None:
    assert command(workspace, "attribute", gallery.credited, "--no-record").code == 0
    assert pending(workspace) == []
    assert rows(workspace, "SELECT * FROM attribution") == []


def test_explain_names_the_runner_up(workspace: Path, gallery: Gallery) -> None:
    image = gallery.credited
    ran = command(workspace, "attribute", image, "--explain", "--no-record")
    document = answer(workspace, "attribute", image, "--explain", "--no-record")["attributions"][0]
    told = document["explain"]
    names = {row["artist_id"]: row["artist"] for row in answer(workspace, "artist", "list")["artists"]}
    assert "one must have a z above" in ran.text
    assert "nearest works" in ran.text
    assert "if the model could veto" in ran.text
    assert not [key for key in names if key in ran.text]
    for player in told["players"]:
        assert player["similarity"] - player["h"] == pytest.approx(player["z"], abs=1e-12)
        assert f"  {names[player['artist_id']]}: similarity" in ran.text
    if told["runner_up"]:
        name = names[told["runner_up"]["artist_id"]]
        assert f"runner-up, not credited: {name}, z" in ran.text
    best = max(one["explained"] for one in told["coalitions"])
    assert best == pytest.approx(1.0)
    veto = told["model_veto_share"]
    assert document["model_share"] <= veto <= 1


def test_explain_shows_control_characters_escaped(workspace: Path, gallery: Gallery) -> None:
    artist = gallery.answers[gallery.credited]["artists"][0]["artist"]
    hostile = "=cmd()\x1b[31m\nred"
    with duckdb.connect(str(workspace / "fairbrush.duckdb")) as connection:
        connection.execute("UPDATE artist SET name = ? WHERE name = ?", [hostile, artist])
        connection.execute("UPDATE registry_state SET revision = revision + 1")
    assert command(workspace, "artist", "list").code == 0  # brings eligibility.json up to date
    ran = command(workspace, "attribute", gallery.credited, "--explain")
    assert r"=cmd()\x1b[31m\nred: similarity" in ran.text
    assert "\x1b" not in ran.text + ran.stderr
    text = command(workspace, "attribute", gallery.credited, "--csv").text
    assert f"'{hostile}" in [row["to"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert r"=cmd()\x1b[31m\nred" in command(workspace, "report", "top_artists").text


def test_an_unknown_model_cannot_run(workspace: Path, gallery: Gallery) -> None:
    ran = command(workspace, "attribute", gallery.credited, "--model", "nothing-1")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "'nothing-1' is not registered" in ran.stderr
    assert pending(workspace) == []


def test_an_artist_outside_a_fine_tunes_roster_gets_nothing(workspace: Path, gallery: Gallery) -> None:
    artist = gallery.answers[gallery.credited]["artists"][0]["artist"]
    for words in (
        ["model", "add", "tune", "--base", "sd-1.5"],
        ["model", "roster", "tune", artist, "--trained", "no", "--source", "their list"],
    ):
        assert command(workspace, *words).code == 0

    def credited(*more: str) -> list[str]:
        (one,) = answer(workspace, "attribute", gallery.credited, *more)["attributions"]
        return [share["artist"] for share in one["artists"]]

    assert artist not in credited("--model", "tune")
    assert artist in credited()


def test_the_policy_changes_shares_and_digest(workspace: Path, gallery: Gallery) -> None:
    before = gallery.answers[gallery.credited]
    with (workspace / "fairbrush.toml").open("a") as stream:
        stream.write("[policy]\nb = 0.2\nw = 0.5\n")
    (after,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert (after["b"], after["w"]) == (0.2, 0.5)
    assert after["policy_digest"] != before["policy_digest"]
    assert after["attribution_id"] != before["attribution_id"]
    assert after["model_share"] == pytest.approx(0.2 + 0.5 * 0.8)
    old, new = (sum(share["share"] for share in one["artists"]) for one in (before, after))
    assert new == pytest.approx(old / 0.5 * 0.8 * 0.5)


def test_failures_are_listed_while_the_others_are_answered(
    workspace: Path, gallery: Gallery, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    ran = command(
        workspace, "attribute", tmp_path / "bad.png", gallery.credited, tmp_path / "none.png", "--json"
    )
    assert ran.code == 1
    assert [one["image"]["path"] for one in ran.json["attributions"]] == [str(gallery.credited)]
    failed = {Path(one["path"]).name: one["reason"] for one in ran.json["failures"]}
    assert failed == {"bad.png": "unsupported", "none.png": "missing"}
    assert "failed: " in ran.stderr
    assert len(rows(workspace, "SELECT * FROM attribution")) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["empty"], "No images in"),
        (["-", "x.png"], "stands alone"),
        (["-", "--csv"], "one JSON object a line"),
        (["x.png", "--explain", "--csv"], "--explain and --why do not fit csv"),
        (["x" * 400], "File name too long"),
    ],
)
def test_what_cannot_be_answered_is_said(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    ran = command(workspace, "attribute", *words)
    assert ran.code == (1 if "too long" in says else 2), ran.stderr
    assert says in ran.stderr


def test_no_workspace_and_no_index_yet(tmp_path: Path, gallery: Gallery, fairbrush: Fairbrush) -> None:
    ran = fairbrush("attribute", gallery.credited)
    assert (ran.code, "There is no workspace here" in ran.stderr) == (2, True)
    assert fairbrush("init", "new").code == 0
    ran = command(tmp_path / "new", "attribute", gallery.credited)
    assert (ran.code, "fairbrush index build" in ran.stderr) == (2, True)


def test_another_encoder_than_the_indexs_is_refused(workspace: Path, gallery: Gallery) -> None:
    toml = workspace / "fairbrush.toml"
    toml.write_text(toml.read_text().replace('encoder = "mini"', 'encoder = "mini+texture"'))
    (cached,) = answer(workspace, "attribute", gallery.credited)["attributions"]  # needs no encoder
    assert cached["attribution_id"] == gallery.answers[gallery.credited]["attribution_id"]
    shutil.rmtree(workspace / "embeddings")
    for words in (["attribute", gallery.credited], ["index", "extend"]):
        ran = command(workspace, *words)
        assert ran.code == 2, ran.stderr
        assert "fairbrush index build" in ran.stderr
    assert len(pending(workspace)) == 1


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for position in range(0, len(content), 64):
        content[position] ^= 0xFF
    file.chmod(0o644)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("pattern", "next_step"),
    [
        ("indexes/CURRENT", "fairbrush index rollback v0001"),
        ("indexes/*/v0001.json", "fairbrush index build"),
        ("indexes/*/segments/*.faiss", "fairbrush index build"),
        ("indexes/*/segments/*.works", "fairbrush index build"),
        ("indexes/*/shared/*.npz", "fairbrush index build"),
        ("indexes/eligibility.json", "fairbrush artist list"),
    ],
)
def test_a_damaged_file_is_named_with_its_way_out_and_nothing_is_recorded(
    workspace: Path, gallery: Gallery, pattern: str, next_step: str
) -> None:
    files = sorted(workspace.glob(pattern))
    if pattern.endswith(".npz"):  # the panel lies beside the space, and is not read to answer
        [manifest] = workspace.glob("indexes/*/v0001.json")
        files = [file for file in files if file.stem == json.loads(manifest.read_text())["space_sha256"]]
    (file,) = files
    damage(file)
    ran = command(workspace, "attribute", gallery.credited)
    assert (ran.code, ran.stdout) == (2, b"")
    assert str(file) in ran.stderr
    assert next_step in ran.stderr
    assert pending(workspace) == []
    words = next_step.removeprefix("fairbrush ").split()
    fixed = command(workspace, *words)
    assert fixed.code == 0, fixed.stderr
    (one,) = answer(workspace, "attribute", gallery.credited)["attributions"]
    assert [s["share_e12"] for s in one["artists"]] == [
        s["share_e12"] for s in gallery.answers[gallery.credited]["artists"]
    ]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_on_a_read_only_disk_no_record_still_answers(
    workspace: Path, gallery: Gallery, fairbrush: Fairbrush
) -> None:
    prefix: tuple[str, ...] = ()
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and there is no setpriv to change that")
        prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    cache = shutil.copytree(workspace / "embeddings", fairbrush.home / "cache")
    paths = [workspace, *workspace.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        refused = _prefixed(fairbrush, prefix, workspace, cache, "attribute", str(gallery.credited))
        told = _prefixed(
            fairbrush, prefix, workspace, cache, "attribute", str(gallery.credited), "--no-record", "--nl"
        )
    finally:
        for path in paths:
            path.chmod(0o755)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"answer with --no-record" in refused.stderr
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {
        **gallery.answers[gallery.credited],
        "encoder": {**gallery.answers[gallery.credited]["encoder"], "device": None},
    }


def _prefixed(
    fairbrush: Fairbrush, prefix: tuple[str, ...], workspace: Path, cache: Path, *words: str
) -> subprocess.CompletedProcess[bytes]:
    arguments = [sys.executable, "-m", "fairbrush", "--workspace", str(workspace), *words]
    return subprocess.run(
        [*prefix, *arguments],
        env=fairbrush._environment({"FAIRBRUSH_CACHE": str(cache)}),
        cwd=fairbrush.home,
        capture_output=True,
        check=False,
        timeout=60,
    )


class Stream:
    """A running ``attribute -``: write a line, read its answer."""

    def __init__(self, fairbrush: Fairbrush, workspace: Path) -> None:
        self.process = fairbrush.start("--workspace", workspace, "attribute", "-", stdin=subprocess.PIPE)

    def ask(self, path: object) -> dict[str, object]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(os.fsencode(str(path)) + b"\n")
        self.process.stdin.flush()
        document: dict[str, object] = json.loads(self.process.stdout.readline())
        return document

    def end(self) -> tuple[int, str]:
        _, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stderr.decode()


def test_a_stream_answers_each_line_as_it_arrives(
    workspace: Path, gallery: Gallery, fairbrush: Fairbrush
) -> None:
    stream = Stream(fairbrush, workspace)
    expected = gallery.answers[gallery.credited]
    assert stream.ask(gallery.credited)["attribution_id"] == expected["attribution_id"]
    failed = stream.ask("none.png")
    assert (failed["schema"], failed["path"], failed["reason"]) == (
        "fairbrush.failure/1",
        "none.png",
        "missing",
    )
    odd = stream.ask(os.fsdecode(b"\xff.png"))
    assert odd["path"] == os.fsdecode(b"\xff.png")
    assert stream.ask(gallery.credited)["attribution_id"] == expected["attribution_id"]
    artist = expected["artists"][0]["artist"]
    assert command(workspace, "artist", "consent", artist, "opted_out").code == 0
    after = stream.ask(gallery.credited)
    assert artist not in [share["artist"] for share in after["artists"]]  # type: ignore[attr-defined]
    assert len(pending(workspace)) == 5  # three answers and two refusals, each on disk before it was said
    code, stderr = stream.end()  # closes stdin
    assert (code, stderr) == (1, "")


def test_ctrl_c_ends_a_stream(workspace: Path, gallery: Gallery, fairbrush: Fairbrush) -> None:
    stream = Stream(fairbrush, workspace)
    stream.ask(gallery.credited)
    stream.process.send_signal(signal.SIGINT)
    code, stderr = stream.end()
    assert (code, stderr) == (130, "fairbrush: Interrupted.\n")
    assert len(pending(workspace)) == 1


def test_a_stream_ends_when_nobody_reads_or_writes(
    workspace: Path, gallery: Gallery, fairbrush: Fairbrush
) -> None:
    stream = Stream(fairbrush, workspace)
    stream.ask(gallery.credited)
    assert stream.process.stdin
    assert stream.process.stdout
    stream.process.stdout.close()
    stream.process.stdin.write(os.fsencode(gallery.credited) + b"\n")
    stream.process.stdin.flush()
    assert stream.process.wait(timeout=30) == 0  # although stdin is open
    stream.process.stdin.close()
    assert stream.process.stderr
    stream.process.stderr.close()
    shell = f'"$0" -m fairbrush --workspace "{workspace}" attribute - <&-'
    closed = subprocess.run(
        ["sh", "-c", shell, sys.executable],
        env=fairbrush._environment({}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (closed.returncode, closed.stderr) == (0, b"")


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.skipif(os.name == "nt", reason="SIGINT of a child")
def test_ctrl_c_keeps_what_was_answered(workspace: Path, many_images: Path, fairbrush: Fairbrush) -> None:
    process = fairbrush.start("--workspace", workspace, "attribute", many_images, "--nl")
    wait_until(lambda: len(pending(workspace)) > 0)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr
    assert stderr.endswith(b"fairbrush: Interrupted.\n")
    recorded = rows(workspace, "SELECT attribution_id FROM attribution")
    assert 0 < len(recorded) < 160
    answered = {json.loads(line)["attribution_id"] for line in stdout.splitlines()}
    assert answered <= {row["attribution_id"] for row in recorded}
