"""Where the time of a training step goes: by torch's profiler."""

from collections import Counter

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.lab import Lab
from tests.benchmarks.report.form import Figure

TOP, NAME = 15, 60
"""Kernels that are shown, and characters of their names."""
WATCHED_STEPS = 5


def pauses(lab: Lab) -> list[Figure]:
    """Return which share of several steps no kernel runs in; on a CPU nothing."""
    if lab.device.type != "cuda":
        return []
    step = lab.ours(lab.runtime)
    step()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as recorded:
        for _ in range(WATCHED_STEPS):
            step()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in recorded.events() or []
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    ]
    what = f"GPU idle, of {WATCHED_STEPS} steps on a fixed batch"
    return [Figure(what=what, unit="%", values=(100 * idle(spans),))]


def idle(spans: list[tuple[float, float]]) -> float:
    """Return the share of the time from the first span to the last that none covers."""
    end = begin = min(start for start, _ in spans)
    covered = 0.0
    for start, stop in sorted(spans):
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return 1 - covered / (end - begin)


def hot_spots(lab: Lab) -> list[Figure]:
    """Return where the time of one step goes, by kernel on CUDA, by operator on a CPU."""
    step = lab.ours(lab.runtime)
    step()
    cuda = lab.device.type == "cuda"
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as recorded:
        step()
    spent: Counter[str] = Counter()
    for event in recorded.key_averages():
        if not event.is_user_annotation:
            taken = event.self_device_time_total if cuda else event.self_cpu_time_total
            spent[event.key[:NAME].replace("|", "/")] += taken
    total = sum(spent.values()) or 1.0
    case = f"of a step of {total / 1e6:.4g} s in {'kernels' if cuda else 'operators'}"
    return [
        Figure(what=f"`{name}`", case=case, unit="%", values=(100 * taken / total,))
        for name, taken in spent.most_common(TOP)
        if taken
    ]
