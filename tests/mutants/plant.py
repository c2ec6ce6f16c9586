"""Source -> mutants: copies of a module with one small fault each.

What is planted: comparisons (another boundary, the opposite), arithmetic (plus for minus, times for
divided), numbers (one more, one less, twice), `and` for `or`, conditions and flags turned round,
`min` for `max`, and results negated. What no caller computes with stays as it is: annotations,
decorators, messages, log lines, and assertions, which only our own mistakes can fail.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

CONTEXT = 60
"""Letters of source, at most, by which a mutant is named."""
SMALL = 100
"""A whole number up to this becomes one more and one less; a larger one, often a size, twice it."""
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
SYMBOLS: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+",
    ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.And: "and", ast.Or: "or",
}  # fmt: skip
OPPOSITES = {"min": "max", "minimum": "maximum", "clamp_min": "clamp_max", "any": "all"}
OPPOSITES |= {new: old for old, new in OPPOSITES.items()}
NUMBERS = {"int", "float", "Tensor", "float | None", "Energies"}
"""Annotations of results that have a sign."""
UNCOUNTED = (ast.Assert, ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Site(NamedTuple):
    """One change that can be made."""

    name: str
    """Of the mutant: function, source and change; no line number, so that it outlives edits."""
    function: str | None
    """The function that must be called for the fault to show; None if more than its calls may."""
    make: Callable[[], None]
    """Changes the syntax tree in place."""


class Mutant(NamedTuple):
    """A module with one small fault."""

    name: str
    function: str | None
    """As a site's."""


class _Place(NamedTuple):
    """Where a node is: its function's name, that function, and the nodes around it, outer first."""

    scope: str
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    cached: bool
    """Whether a function around it keeps its results, so that later callers do not call it."""
    around: tuple[ast.AST, ...]


def sites(tree: ast.Module) -> list[Site]:
    """Return every change that can be made to a module, in the order of its source."""
    found: list[Site] = []
    times: Counter[str] = Counter()
    for node, place in _nodes(tree, _Place("module", None, False, ())):
        for old, new, make in _changes(node, place):
            name = f"{place.scope}: {_context(node, place)}: {old} => {new}"
            times[name] += 1
            name += f" ({times[name]})" if times[name] > 1 else ""
            called = place.scope if place.function and not place.cached else None
            found.append(Site(name, called, make))
    return found


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a module."""
    return [Mutant(site.name, site.function) for site in sites(ast.parse(source))]


def planted(source: str, name: str) -> ast.Module:
    """Return a module's syntax tree with the fault `name` in it."""
    tree = ast.parse(source)
    next(site for site in sites(tree) if site.name == name).make()
    return ast.fix_missing_locations(tree)


def _nodes(node: ast.AST, place: _Place) -> Iterator[tuple[ast.AST, _Place]]:
    """Yield what may be changed, each with its place."""
    if isinstance(node, UNCOUNTED) or _is_log(node):
        return
    yield node, place
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        scope = node.name if place.scope == "module" else f"{place.scope}.{node.name}"
        function = None if isinstance(node, ast.ClassDef) else node
        kept = any("cache" in ast.unparse(one) for one in node.decorator_list)
        place = _Place(scope, function, place.cached or kept, ())
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child, place._replace(around=(*place.around, node)))


def _is_log(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
    )


def _context(node: ast.AST, place: _Place) -> str:
    """Return the longest source around a node, within its statement, that is short enough."""
    best = ast.unparse(node.test if isinstance(node, ast.If | ast.While) else node)
    for outer in reversed(place.around):
        if isinstance(outer, (*SCOPES, ast.Module, ast.arguments)):
            break
        text = ast.unparse(outer)
        if len(text) > CONTEXT or "\n" in text:
            break
        best = text
    return best if len(best) <= CONTEXT else f"{best[: CONTEXT - 3]}..."


Change = tuple[str, str, Callable[[], None]]


def _changes(node: ast.AST, place: _Place) -> Iterator[Change]:
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BinOp() | ast.AugAssign():
            yield from _operators(node)
        case ast.Constant():
            yield from _constants(node, place)
        case ast.BoolOp() | ast.UnaryOp() | ast.If() | ast.IfExp() | ast.While():
            yield from _conditions(node)
        case ast.Name(id=name) if name in OPPOSITES:
            yield name, OPPOSITES[name], _setter(node, "id", OPPOSITES[name])
        case ast.Attribute(attr=name) if name in OPPOSITES:
            yield name, OPPOSITES[name], _setter(node, "attr", OPPOSITES[name])
        case ast.Return():
            yield from _results(node, place)


def _conditions(
    node: ast.BoolOp | ast.UnaryOp | ast.If | ast.IfExp | ast.While,
) -> Iterator[Change]:
    match node:
        case ast.BoolOp(op=old):
            new = ast.Or() if isinstance(old, ast.And) else ast.And()
            yield SYMBOLS[type(old)], SYMBOLS[type(new)], _setter(node, "op", new)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            # Twice "not" is none.
            yield "not", "(nothing)", _setter(node, "operand", ast.UnaryOp(ast.Not(), operand))
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield "-", "+", _setter(node, "op", ast.UAdd())
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if isinstance(test, ast.Name | ast.Attribute | ast.Call):
                yield "if", "if not", _setter(node, "test", ast.UnaryOp(ast.Not(), test))


def _results(node: ast.Return, place: _Place) -> Iterator[Change]:
    returns = place.function.returns if place.function else None
    sign = _sign(ast.unparse(returns)) if returns else None
    if sign and node.value and not _is_zero(node.value):
        word = "not" if isinstance(sign, ast.Not) else "-"
        yield "return", f"return {word}", _setter(node, "value", ast.UnaryOp(sign, node.value))


def _comparisons(node: ast.Compare) -> Iterator[Change]:
    for number, old in enumerate(node.ops):
        for new in COMPARISONS[type(old)]:

            def make(number: int = number, new: type[ast.cmpop] = new) -> None:
                node.ops[number] = new()

            yield SYMBOLS[type(old)], SYMBOLS[new], make


def _operators(node: ast.BinOp | ast.AugAssign) -> Iterator[Change]:
    operands = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    # What joins texts and lists is no arithmetic.
    joins = any(
        isinstance(one, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(one, ast.Constant) and isinstance(one.value, str | bytes))
        for one in operands
    )
    new = OPERATORS.get(type(node.op))
    if new and not joins:
        yield SYMBOLS[type(node.op)], SYMBOLS[new], _setter(node, "op", new())


def _constants(node: ast.Constant, place: _Place) -> Iterator[Change]:
    inner = place.around[-1]
    if isinstance(inner, ast.keyword) and inner.arg == "strict":
        # Of `zip`: it asserts, too.
        return
    match node.value:
        case bool(flag):
            others: tuple[float, ...] = (not flag,)
        case int(number):
            others = (number + 1, number - 1) if abs(number) <= SMALL else (2 * number,)
        case float(number):
            others = (2 * number if number else 1.0,)
        case _:
            others = ()
    for other in others:
        yield repr(node.value), repr(other), _setter(node, "value", other)


def _sign(returns: str) -> ast.unaryop | None:
    if returns == "bool":
        return ast.Not()
    return ast.USub() if returns in NUMBERS else None


def _is_zero(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and not value.value


def _setter(node: ast.AST, field: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, field, value)
