"""A module to try the tool on: of its faults, tests see some, miss some, and never end with one."""


def mean(values: list[float]) -> float:
    total, number = 0.0, 0
    while number < len(values):
        total += values[number]
        number += 1
    return total / number


def unguarded(value: float) -> float:
    return value + value
