"""README shows what really happens: its commands are run and compared with the output it prints."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from running import Fairbrush

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def sessions() -> list[tuple[str, str]]:
    """Each ``$ fairbrush ...`` line of a console block, with the output printed below it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            if command.startswith("fairbrush "):
                found.append((command, output))
    return found


def shape(text: str) -> list[str]:
    """Lines without what differs from run to run: numbers, digests, column widths."""
    text = re.sub(r"\S*/(\.cache|fairbrush-demo)\b", r"~/\1", text)
    text = re.sub(r"[0-9a-f]{12,}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][0-9:+.]+", "TIME", text)
    text = re.sub(r"\d+(\.\d+)?", "N", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_ci_script_runs_exactly_the_test_command_of_the_readme():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert script[-1].startswith("python3 -m venv .venv && ")
    assert script[-1] in README


def test_every_command_of_the_command_line_is_shown_or_listed(fairbrush: Fairbrush):
    listed = fairbrush("--help").text.partition("Commands:")[2]
    commands = re.findall(r"^  ([a-z]+)", listed, flags=re.MULTILINE)
    assert commands
    for command in commands:
        assert f"fairbrush {command}" in README, command


def test_the_file_tree_names_only_what_is_there():
    tree = re.search(r"```text\n(.*?)```", README, flags=re.DOTALL)
    assert tree
    for line in tree[1].splitlines():
        path = line.split("  ")[0].strip()
        assert (ROOT / path).exists(), path


def test_the_commands_print_what_the_readme_shows(fairbrush: Fairbrush):
    (fairbrush.home / "src").symlink_to(ROOT / "src")
    steps = sessions()
    assert len(steps) >= 5
    for command, expected in steps:
        ran = fairbrush(*shlex.split(command)[1:], env={"COLUMNS": "100"}, stderr=subprocess.STDOUT)
        assert shape(ran.text) == shape(expected), command


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_every_link_leads_to_a_file(link: str):
    assert (ROOT / link).exists()
