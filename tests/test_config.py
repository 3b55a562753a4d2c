"""Settings: which source wins, what is refused, and where a workspace is found."""

from pathlib import Path
from typing import Any

import pytest
from running import Fairbrush

from fairbrush.config import Settings, find_workspace, load_settings
from fairbrush.errors import ConfigError


def workspace_with(folder: Path, toml: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fairbrush.toml").write_text(toml, encoding="utf-8")
    return folder


def test_without_a_file_or_variables_the_defaults_hold(tmp_path: Path) -> None:
    assert load_settings(start=tmp_path, environ={}) == Settings()
    assert Settings() == Settings(
        **{"workspace": None, "encoder": "mini", "device": "auto", "cache": None, "workers": 0, "threads": 0},
        **{"batch": 32, "max_bytes": 67_108_864, "max_pixels": 100_000_000, "timeout_s": 20.0},
    )


def test_a_variable_beats_the_file(tmp_path: Path) -> None:
    folder = workspace_with(tmp_path, 'batch = 8\nworkers = 3\nencoder = "mini:clip"\ntimeout_s = 5\n')
    settings = load_settings(start=folder, environ={"FAIRBRUSH_BATCH": "4", "FAIRBRUSH_TIMEOUT_S": "1.5"})
    assert settings == Settings(workspace=folder, encoder="mini:clip", workers=3, batch=4, timeout_s=1.5)


def test_an_empty_variable_is_unset(tmp_path: Path) -> None:
    environ = {"FAIRBRUSH_CACHE": "", "FAIRBRUSH_BATCH": "", "FAIRBRUSH_WORKSPACE": ""}
    assert load_settings(start=tmp_path, environ=environ) == Settings()


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(
    fairbrush: Fairbrush, art: list[Path]
) -> None:
    home = fairbrush.home

    def cache_used(*flags: str, **env: str) -> str:
        ran = fairbrush("embed", art[0], "--json", *flags, env=env)
        assert ran.code == 0
        return str(ran.json["cache"])

    assert cache_used() == str(home / ".cache" / "fairbrush" / "embeddings")
    workspace_with(home, "")
    assert cache_used() == str(home / "embeddings")
    workspace_with(home, 'cache = "from-file"')
    assert cache_used() == str(home / "from-file")
    variable = {"FAIRBRUSH_CACHE": str(home / "from-variable")}
    assert cache_used(**variable) == str(home / "from-variable")
    assert cache_used("--cache", "from-flag", **variable) == "from-flag"


def test_the_workspace_is_found_by_walking_up(tmp_path: Path) -> None:
    outer = workspace_with(tmp_path / "outer", "")
    inner = workspace_with(outer / "a" / "inner", "")
    deep = inner / "b" / "c"
    deep.mkdir(parents=True)
    assert find_workspace(deep) == inner
    assert find_workspace(outer / "a") == outer
    assert find_workspace(tmp_path) is None


def test_a_relative_cache_in_the_file_is_the_same_from_everywhere(tmp_path: Path) -> None:
    folder = workspace_with(tmp_path, 'cache = "vectors"')
    (folder / "a").mkdir()
    for start in (folder, folder / "a"):
        assert load_settings(start=start, environ={}).cache_folder == folder / "vectors"
    absolute = workspace_with(tmp_path / "other", f'cache = "{tmp_path}/elsewhere"')
    assert load_settings(start=absolute, environ={}).cache_folder == tmp_path / "elsewhere"


def test_a_home_sign_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = workspace_with(tmp_path / "w", 'cache = "~/vectors"')
    assert load_settings(start=folder, environ={}).cache == tmp_path / "vectors"
    assert load_settings(workspace=Path("~/w"), environ={}).workspace == folder


def test_weights_are_named_by_model_and_a_relative_path_is_the_workspaces(tmp_path: Path) -> None:
    toml = '[generators]\n"sd-1.5" = "/models/sd15"\nmine = "weights/mine"\n'
    folder = workspace_with(tmp_path / "w", toml)
    settings = load_settings(start=folder, environ={})
    assert settings.generators == {"sd-1.5": Path("/models/sd15"), "mine": folder / "weights/mine"}


def test_the_workspace_named_beats_the_one_found(tmp_path: Path) -> None:
    found, named = workspace_with(tmp_path / "found", ""), workspace_with(tmp_path / "named", "batch = 2")
    variable = workspace_with(tmp_path / "variable", "")
    environ = {"FAIRBRUSH_WORKSPACE": str(variable)}
    assert load_settings(start=found, environ=environ).workspace == variable
    assert load_settings(start=found, workspace=named, environ=environ).batch == 2


def test_a_table_belongs_to_the_part_that_reads_it(tmp_path: Path) -> None:
    folder = workspace_with(tmp_path, "batch = 2\n[report]\ntitle = 'x'\n")
    assert load_settings(start=folder, environ={}) == Settings(workspace=folder, batch=2)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("encodr = 'mini'", "encodr is not a setting. Known: batch, cache, database_wait_s, device"),
        ("workspace = '/x'", "workspace is not a setting."),
        ("batch = 'many'", "batch must be a whole number, 0 or more, not 'many'."),
        ("batch = 2.5", "batch must be a whole number, 0 or more, not 2.5."),
        ("batch = true", "batch must be a whole number, 0 or more, not True."),
        ("batch = -1", "batch must be a whole number, 0 or more, not -1."),
        ("batch = [1]", "batch must be a whole number, 0 or more, not [1]."),
        ("timeout_s = nan", "timeout_s must be a number, 0 or more, not nan."),
        ("timeout_s = inf", "timeout_s must be a number, 0 or more, not inf."),
        ("encoder = 3", "encoder must be text, not 3."),
        ("cache = 3", "cache must be a path, not 3."),
        ("cache = ''", "cache must be a path, not ''."),
        ("cache = '~nobody-of-this-name/x'", "~nobody-of-this-name/x: "),
        ("[encoder]\nname = 'mini'", "encoder must be text, not {'name': 'mini'}."),
        ("batch = = 1", "cannot be read: Invalid value (at line 1, column 9)."),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, toml: str, said: str) -> None:
    folder = workspace_with(tmp_path, toml)
    with pytest.raises(ConfigError) as caught:
        load_settings(start=folder, environ={})
    assert said in str(caught.value)
    assert caught.value.next_step


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "fairbrush.toml").write_bytes(b"encoder = '\xff'")
    with pytest.raises(ConfigError, match=r"fairbrush\.toml cannot be read: .*invalid start byte"):
        load_settings(start=tmp_path, environ={})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"FAIRBRUSH_CACH": "x"}, "FAIRBRUSH_CACH is not a variable fairbrush reads. Known: FAIRBRUSH_BATCH"),
        (
            {"FAIRBRUSH_WORKERS": "two"},
            "the environment: workers must be a whole number, 0 or more, not 'two'.",
        ),
        (
            {"FAIRBRUSH_TIMEOUT_S": "nan"},
            "the environment: timeout_s must be a number, 0 or more, not 'nan'.",
        ),
        ({"FAIRBRUSH_WORKSPACE": "/no/such"}, "The workspace /no/such is not a folder. Check --workspace"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(start=tmp_path, environ=environ)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "arguments", "env", "said"),
    [
        ("", ["--workspace", "nowhere"], {}, "fairbrush: The workspace nowhere is not a folder."),
        ("", [], {"FAIRBRUSH_CACH": "x"}, "fairbrush: FAIRBRUSH_CACH is not a variable fairbrush reads."),
        ("", [], {"FAIRBRUSH_BATCH": "0"}, "fairbrush: batch must be at least 1, not 0."),
        ("timeout_s = 0", [], {}, "fairbrush: timeout_s must be at least 0.1, not 0.0."),
        ("", [], {"FAIRBRUSH_TIMEOUT_S": "1e10"}, "fairbrush: timeout_s must be at most 86400, not 1"),
        ("", [], {"FAIRBRUSH_THREADS": "100000"}, "fairbrush: threads must be at most 1024, not 100000."),
        ("colour = 1", [], {}, "fairbrush.toml: colour is not a setting."),
        ("= 1", [], {}, "fairbrush.toml cannot be read: Invalid statement"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_command(
    fairbrush: Fairbrush,
    art: list[Path],
    toml: str,
    arguments: list[Any],
    env: dict[str, str],
    said: str,
) -> None:
    workspace_with(fairbrush.home, toml)
    ran = fairbrush(*arguments, "embed", "art", env=env)
    assert (ran.code, ran.stdout) == (2, b"")
    first, second = ran.stderr.splitlines()
    assert said in first
    assert second.startswith("  next: ")
