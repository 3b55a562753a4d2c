"""What is loaded before it is needed: nothing heavy, as ``sys.modules`` of a fresh process says."""

from pathlib import Path

import pytest
from running import Fairbrush
from workspaces import Gallery, pending

HEAVY = {
    *("torch", "torchvision", "open_clip", "timm", "transformers", "diffusers", "ray", "onnxruntime", "onnx"),
    *("faiss", "duckdb", "lmdb", "matplotlib", "altair", "vl_convert", "pandas", "rich", "scipy"),
    *("iso4217", "cryptography", "schwifty", "sepaxml"),
    *("babel", "jinja2", "markupsafe", "typst", "openpyxl", "c2pa"),
}

IMPORT_EVERYTHING = f"""
import importlib, pkgutil, sys
import fairbrush
names = ["fairbrush"] + [m.name for m in pkgutil.walk_packages(fairbrush.__path__, "fairbrush.")]
for name in names:
    importlib.import_module(name)
    loaded = {HEAVY!r} & sys.modules.keys()
    assert not loaded, f"import {{name}} loads {{sorted(loaded)}}"
print(*names)
"""

REPORT = """
import sys
from fairbrush.cli.app import run
code = run(sys.argv[1:])
print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
sys.exit(code)
"""


def test_the_command_line_starts_without_the_books(fairbrush: Fairbrush) -> None:
    names = "[name for name in sys.modules if name.startswith(('fairbrush.ledger.', 'fairbrush.chain'))]"
    ran = fairbrush(program=("-c", f"import sys, fairbrush.cli.app; print(*{names})"))
    assert ran.text.split() == ["fairbrush.ledger.choices"]


def test_no_module_loads_a_heavy_library_when_imported(fairbrush: Fairbrush) -> None:
    ran = fairbrush(program=("-c", IMPORT_EVERYTHING))
    assert ran.code == 0, ran.stderr
    assert {"fairbrush.__main__", "fairbrush.cli.app", "fairbrush.embedding.cache"} <= set(ran.text.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["embed", "--help"], ["cache", "--help"], ["--version"], ["embed"]]
)
def test_help_loads_nothing_heavy(fairbrush: Fairbrush, arguments: list[str]) -> None:
    ran = fairbrush(*arguments, program=("-c", REPORT))
    loaded = set(ran.stderr.splitlines()[-1].split())
    assert loaded & (HEAVY | {"numpy", "PIL"}) == set()
    assert "typer" in loaded


EVERY_HELP = """
import sys
import typer
from fairbrush.cli.app import app, run

def helps(command, words):
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, [*words, name])

for words in helps(typer.main.get_command(app), []):
    assert run([*words, "--help"]) == 0, words
    print("shown:", *words)
print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def test_no_commands_help_loads_anything_heavy(fairbrush: Fairbrush) -> None:
    ran = fairbrush(program=("-c", EVERY_HELP))
    assert ran.code == 0, ran.stderr
    assert {"shown: validate", "shown: attribute", "shown: artist add"} <= set(ran.text.splitlines())
    assert set(ran.stderr.splitlines()[-1].split()) & (HEAVY | {"numpy", "PIL"}) == set()


def test_a_cached_look_up_loads_no_encoder(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    arguments = ("embed", "art", "--cache", cache, "--json")
    first = fairbrush(*arguments, program=("-c", REPORT))
    assert first.json["counts"]["new"] == 4
    assert set(first.stderr.split()) & HEAVY == {"lmdb", "onnxruntime"}
    second = fairbrush(*arguments, program=("-c", REPORT))
    assert second.json["counts"]["cached"] == 4
    assert set(second.stderr.split()) & (HEAVY | {"PIL"}) == {"lmdb"}


def test_a_cached_attribution_is_recorded_without_encoder_database_or_currencies(
    fairbrush: Fairbrush, gallery: Gallery, workspace: Path
) -> None:
    with (workspace / "fairbrush.toml").open("a") as file:
        file.write('[policy]\nplatform_fee = 0.1\nminimum_payout = { EUR = "10.00" }\n')
    arguments = ("--workspace", workspace, "attribute", gallery.credited, "--json")
    ran = fairbrush(*arguments, program=("-c", REPORT))
    assert ran.json["attributions"][0]["encoder"]["device"] is None
    assert len(pending(workspace)) == 1
    assert set(ran.stderr.split()) & (HEAVY | {"PIL"}) == {"lmdb", "faiss"}
