"""A module to try the tool on: its tests see one fault, miss another, and never end with a third."""


def mean(values: list[float]) -> float:
    total, number = 0.0, 0
    while number < len(values):
        total += values[number]
        number += 1
    return total / number


def unguarded(value: float) -> float:
    return value + value
