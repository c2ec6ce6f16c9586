"""Every command, walked with wrong words: one sentence each, and exit code 2.

The commands are read off the application: a new one is walked without a word here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typer.core import TyperOption
from typer.main import get_command

from flows.__main__ import PROGRAM, app, perform

USAGE = 2
LONGEST = 160
"""Characters of a sentence: two lines of a terminal of 80 columns."""
Words = list[str]
Mistake = tuple[Words, str]
"""Words, and what the answer must name."""


def every_command(group: Any, path: Sequence[str] = ()) -> Iterator[tuple[Words, Any]]:
    """Yield each command, those of groups within groups and hidden ones too, with its words."""
    for name, command in group.commands.items():
        words = [*path, name]
        if hasattr(command, "commands"):
            yield from every_command(command, words)
        else:
            yield words, command


WALK = [pytest.param(*one, id=" ".join(one[0])) for one in every_command(get_command(app))]
walk = pytest.mark.parametrize(("words", "command"), WALK)


def arguments(command: Any) -> list[Any]:
    return [one for one in command.params if not isinstance(one, TyperOption)]


def options(command: Any) -> list[Any]:
    return [one for one in command.params if isinstance(one, TyperOption)]


def name_of(parameter: Any) -> str:
    return parameter.opts[0] if isinstance(parameter, TyperOption) else parameter.metavar


def needed(command: Any, without: Any = None) -> Words:
    """Return words for all that a command requires, but for one option, or one argument on."""
    required = [one for one in command.params if one.required and one is not without]
    if without in arguments(command):
        later = arguments(command)[arguments(command).index(without) :]
        required = [one for one in required if one not in later]
    named = [
        word for one in required if isinstance(one, TyperOption) for word in (one.opts[0], "x")
    ]
    return [*named, *("x" for one in required if not isinstance(one, TyperOption))]


def wrong_values(option: Any) -> Iterator[str]:
    """Yield values that an option's type refuses."""
    kind = option.type_descriptor
    if kind.choices or kind.annotation in (int, float):
        yield "nonsense"
    if getattr(option, "min", None) is not None:
        yield str(option.min - 1)


def mistakes(words: Words, command: Any) -> Iterator[Mistake]:
    """Yield every mistake that can be made with a command, by the form of its words."""
    whole = [*words, *needed(command)]
    yield [*whole, "--no-such-option"], "has no option --no-such-option"
    for one in command.params:
        if one.required:
            yield [*words, *needed(command, without=one)], f"needs {name_of(one)}"
    if all(one.nargs == 1 for one in arguments(command)):
        many = ["x"] * sum(not one.required for one in arguments(command))
        yield [*whole, *many, "surplus"], "was given 'surplus'"
    for one in arguments(command):
        yield [*words, *needed(command, without=one), ""], f"empty {one.metavar}"
    for option in options(command):
        yield from mistaken_options(option, whole)


def mistaken_options(option: Any, whole: Words) -> Iterator[Mistake]:
    name = option.opts[0]
    yield [*whole, name[:-1] + "?"], "did you mean --"
    if option.is_flag:
        yield [*whole, f"{name}=yes"], f"takes no value for {name}, and was given 'yes'"
        return
    yield [*whole, name], f"takes a value after {name}, and found none"
    yield [*whole, name, "--help"], f"takes a value after {name}, and found the option --help"
    if option.default != "":
        yield [*whole, name, ""], f"takes no empty {name}"
    for value in wrong_values(option):
        yield [*whole, name, value], f"takes for {name} "


def answer(capsys: pytest.CaptureFixture[str], words: Words) -> str:
    """Return the sentence that wrong words are answered with."""
    code = perform(words)
    out, err = capsys.readouterr()
    assert (code, out) == (USAGE, ""), words
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), (words, err)
    assert "Traceback" not in err
    assert len(err) <= LONGEST, err
    return err.strip()


@walk
def test_each_mistake_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: Words, command: Any
) -> None:
    name = f"{PROGRAM} {' '.join(words)}"
    for mistaken, told in mistakes(words, command):
        said = answer(capsys, mistaken)
        assert said.startswith(f"error: {name} "), (mistaken, said)
        assert told in said, (mistaken, said)
        assert said.endswith(f"see: {name} --help"), (mistaken, said)


@walk
def test_help_fits_and_says_what_all_is_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: Words, command: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert perform([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert max(map(len, out.splitlines())) <= 80
    assert f"Usage: {PROGRAM} {' '.join(words)} " in out
    unexplained = [one.name for one in command.params if not (one.help or "").endswith((".", ".)"))]
    assert not unexplained, "each argument and option has a sentence"


def test_the_list_of_commands_loses_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command's first sentence stands beside it, and is cut where it is too long."""
    monkeypatch.setenv("COLUMNS", "80")
    assert perform(["--help"]) == 0
    listed = capsys.readouterr().out
    assert not [line for line in listed.splitlines() if line.endswith("...") and "  " in line]
    shown = [words[0] for words, command in every_command(get_command(app)) if not command.hidden]
    assert all(f"\n  {name} " in listed for name in shown)


def test_the_program_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A person sees the help, a script that lost its command an exit code."""
    assert perform([]) == USAGE
    out, err = capsys.readouterr()
    assert "Commands:" in out
    assert not err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bogus"], f"{PROGRAM} has no command 'bogus'; see: {PROGRAM} --help"),
        (["staus"], f"{PROGRAM} has no command 'staus'; did you mean 'status'? see: "),
        (["SEPARATE"], "did you mean 'separate'?"),
        (["--versoin"], "did you mean --version?"),
        (["--json", "status"], "has no option --json; write it after the command that has it"),
        (["run"], "stemworks run needs FLOW and --recipe; see: stemworks run --help"),
        (
            ["separate", "--shifts", "0", "model", "song", "out"],
            "takes for --shifts a whole number of at least 1, not '0'",
        ),
        (
            ["deploy", "--recipe", "demo", "--type", "dcoker"],
            "takes for --type process, docker or kubernetes, not 'dcoker'",
        ),
        (["status", "home2"], "takes no argument, and was given 'home2'"),
        (["import", "a", "b", "c", "d"], "takes CHECKPOINT MODEL alone, and was given 'c d'"),
        (["doctor", "--memory-gb", "nan"], "takes for --memory-gb a number of at least 0"),
    ],
)
def test_what_is_said(capsys: pytest.CaptureFixture[str], words: Words, said: str) -> None:
    assert said in answer(capsys, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "studdy", "--recipe", "demo"], "unknown flow 'studdy'; did you mean 'study'?"),
        (["plan", "xyz", "--recipe", "demo"], "unknown flow 'xyz'; the flows are study, fma"),
        (["plan", "study", "--recipe", "dmeo"], "unknown recipe 'dmeo'; did you mean 'demo'?"),
        (["plan", "study", "--recipe", "xyz"], "unknown recipe 'xyz'; the recipes are demo, "),
        (["plan", "study", "--recipe", "demo", "--set", "name"], "'--set name' has no '='"),
        (["doctor", "--memory-gb", "4"], "--memory-gb is of --fit alone"),
    ],
)
def test_names_and_settings(capsys: pytest.CaptureFixture[str], words: Words, said: str) -> None:
    assert perform(words) == USAGE
    _, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1


def test_a_value_that_looks_like_an_option_can_be_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert perform(["verify", "--home=--json"]) == USAGE
    assert "there is no home at " in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["--version"]) == 0
    name, number, *commit = capsys.readouterr().out.split()
    assert name == PROGRAM
    assert number[0].isdigit()
    assert all(one.startswith("(") and one.endswith(")") for one in commit)
