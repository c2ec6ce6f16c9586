"""Wrong words on the command line, each answered in one sentence with what would be right.

typer contains a copy of click and does not export its errors: they are distinguished by the names
of their classes. What is wrong is found in the command and its words, not in their messages.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from storage.errors import ConfigError, nearest

UsageError: Any = typer.BadParameter.__mro__[2]
"""Base class of every error in which wrong words end."""
NO_COMMAND = 2
"""Exit code of the program without a command: a script that lost its command is to notice."""


class SpokenCommand(TyperCommand):
    """A command that answers wrong words in one sentence, and names its arguments in capitals."""

    def __init__(self, *names: Any, **rest: Any) -> None:
        super().__init__(*names, **rest)
        for parameter in self.params:
            if not parameter.metavar and not _choices(parameter):
                parameter.metavar = parameter.name.upper()

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what the line of usage says after the command: `[OPTIONS] FLOW`."""
        pieces = [self.options_metavar or ""]
        for one in self.params:
            if one.param_type_name == "argument":
                more = "..." if one.nargs != 1 and "..." not in _name(one) else ""
                pieces.append(f"{_name(one) if one.required else f'[{_name(one)}]'}{more}")
        return pieces

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; raise `ConfigError` if one is wrong."""
        with _one_sentence(self, ctx, list(args)):
            _refuse_lost_values(self, ctx, args)
            return super().parse_args(ctx, args)


class SpokenGroup(TyperGroup):
    """A group of commands that offers the nearest one; without a command it shows its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words up to the command; raise `ConfigError` if one is wrong."""
        if not args:
            typer.echo(ctx.get_help())
            ctx.exit(NO_COMMAND)
        with _one_sentence(self, ctx, list(args)):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; raise `ConfigError` that offers the nearest one if there is none."""
        if args[0] not in self.commands:
            shown = [name for name, command in self.commands.items() if not command.hidden]
            close = nearest(args[0], shown)
            told = f"has no command '{args[0]}'"
            raise _refusal(ctx, f"{told}; did you mean '{close}'?" if close else told)
        return super().resolve_command(ctx, args)


def spoken(app: typer.Typer) -> typer.Typer:
    """Have all commands and groups of a Typer application answer so; return it."""
    app.info.cls = SpokenGroup
    for command in app.registered_commands:
        command.cls = SpokenCommand
    for group in app.registered_groups:
        group.cls = SpokenGroup
        if group.typer_instance:
            spoken(group.typer_instance)
    return app


@contextmanager
def _one_sentence(command: Any, ctx: Any, words: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        told = _EXPLAIN.get(type(error).__name__, _explain_other)(command, error, words)
        raise _refusal(ctx, told) from None


def _refusal(ctx: Any, told: str) -> ConfigError:
    joint = " " if told.endswith("?") else "; "
    return ConfigError(f"{ctx.command_path} {told}{joint}see: {ctx.command_path} --help")


def _refuse_lost_values(command: Any, ctx: Any, words: Sequence[str]) -> None:
    """Refuse values that are empty, and options that another option swallows as its value."""
    values, _, _ = command.make_parser(ctx).parse_args(list(words))
    known = _options(command, ctx)
    for parameter in command.params:
        given = values.get(parameter.name)
        for value in given if isinstance(given, list | tuple) else [given]:
            is_option = isinstance(parameter, TyperOption)
            name = _name(parameter)
            if value == "" and not (is_option and parameter.default == ""):
                raise typer.BadParameter("empty", ctx=ctx, param=parameter)
            if is_option and value in known and f"{name}={value}" not in words:
                raise _refusal(ctx, f"takes a value after {name}, and found the option {value}")


def _explain_option(command: Any, error: Any, _words: Sequence[str]) -> str:
    given = error.option_name
    told = f"has no option {given}"
    below = [one for each in getattr(command, "commands", {}).values() for one in each.params]
    if any(given in parameter.opts for parameter in below):
        return f"{told}; write it after the command that has it"
    close = nearest(given, _options(command, error.ctx))
    return f"{told}; did you mean {close}?" if close else told


def _explain_missing(command: Any, error: Any, _words: Sequence[str]) -> str:
    """Name all that is missing: what was given had been read before the first that was not."""
    had = error.ctx.params
    missing = [one for one in command.params if one.required and had.get(one.name) is None]
    return f"needs {' and '.join(_name(one) for one in missing)}"


def _explain_value(command: Any, error: Any, words: Sequence[str]) -> str:
    name = _name(error.param)
    values, _, _ = command.make_parser(error.ctx).parse_args(list(words))
    value = values.get(error.param.name)
    if value == "" or (isinstance(value, list | tuple) and "" in value):
        return f"takes no empty {name}; give a value, or leave it out"
    if expected := _expected(error.param):
        return f"takes for {name} {expected}, not '{value}'"
    return f"refuses {name} '{value}': {error.message.rstrip('.')}"


def _expected(parameter: Any) -> str:
    """Say which choices or numbers a parameter takes; empty if it takes anything else."""
    if choices := _choices(parameter):
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    kind = parameter.type_descriptor
    numbers = {int: "a whole number", float: "a number"}
    kinds = (kind.annotation, *get_args(kind.annotation))
    number = next((numbers[one] for one in kinds if one in numbers), "")
    least = "" if parameter.min is None else f" of at least {parameter.min:g}"
    most = "" if parameter.max is None else f" of at most {parameter.max:g}"
    return number and number + " and".join(filter(None, (least, most)))


def _options(command: Any, ctx: Any) -> list[str]:
    """Return all options that a command takes, `--help` among them."""
    every = command.get_params(ctx)
    return [name for one in every if isinstance(one, TyperOption) for name in one.opts]


def _choices(parameter: Any) -> list[str]:
    return [str(choice) for choice in parameter.type_descriptor.choices or ()]


def _explain_use(_command: Any, error: Any, words: Sequence[str]) -> str:
    """Say that an option lacks its value, or was given one that it does not take."""
    name = error.option_name
    surplus = next((word for word in words if word.startswith(f"{name}=")), "")
    if surplus:
        return f"takes no value for {name}, and was given '{surplus.partition('=')[2]}'"
    return f"takes a value after {name}, and found none"


def _explain_other(command: Any, error: Any, words: Sequence[str]) -> str:
    """Say which words are too many; click has no class for that."""
    _, surplus, _ = command.make_parser(error.ctx).parse_args(list(words))
    if not surplus or not isinstance(command, TyperCommand):
        return f"did not understand: {error.format_message().rstrip('.')}"
    taken = [_name(one) for one in command.params if one.param_type_name == "argument"]
    takes = f"takes {' '.join(taken)} alone" if taken else "takes no argument"
    return f"{takes}, and was given '{' '.join(surplus)}'"


def _name(parameter: Any) -> str:
    """Return what a person calls a parameter: `--home`, `RUN`."""
    if isinstance(parameter, TyperOption):
        return max(parameter.opts, key=len)
    return str(parameter.metavar or parameter.name.upper())


_EXPLAIN = {
    "NoSuchOption": _explain_option,
    "MissingParameter": _explain_missing,
    "BadParameter": _explain_value,
    "BadOptionUsage": _explain_use,
}
