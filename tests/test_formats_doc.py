"""docs/formats.md shows what really happens: its commands are run and compared with the output it prints."""

import re
import subprocess
import sys
from pathlib import Path

import duckdb
from running import Fairbrush

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)


def sessions() -> list[tuple[str, str]]:
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


def test_the_commands_print_what_the_page_shows(fairbrush: Fairbrush, workspace: Path) -> None:
    home = fairbrush.home
    (home / "data").mkdir()
    (home / "data" / "sales.csv").write_text("invoice,artist,amount\nINV-1,a,1.50\nINV-2,b,2.00\n")
    (home / "data" / "people.json").write_text('[{"artist": "a", "name": "Ann"}]')
    (home / "total.sql").write_text("SELECT 'EUR' AS currency,\n  sum(amount) AS total\nFROM sales\n")
    steps = sessions()
    assert len(steps) >= 9
    for command, expected in steps:
        words, _, source = command.partition(" < ")
        options = {"stdin": (home / source).open("rb")} if source else {}
        run = (
            f"import shlex, sys; from fairbrush.cli.app import run; sys.exit(run(shlex.split({words!r})[1:]))"
        )
        ran = fairbrush(program=("-c", run), env={"FAIRBRUSH_WORKSPACE": str(workspace)}, **options)
        assert (ran.code, ran.text) == (0, expected), (command, ran.stderr)
        if source:
            options["stdin"].close()
    with duckdb.connect() as database:
        kinds = database.execute(f"SELECT typeof(n) FROM '{home}/leaves.parquet'").fetchall()
    assert set(kinds) <= {("BIGINT",)}
    assert (home / "top.xlsx").read_bytes()[:2] == b"PK"
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    subprocess.run([sys.executable, "-c", block], cwd=home, check=True, capture_output=True)


def test_every_link_leads_to_a_file() -> None:
    assert LINKS
    for link in LINKS:
        assert (Path(__file__).parents[1] / "docs" / link).exists(), link
