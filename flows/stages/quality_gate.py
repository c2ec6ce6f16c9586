"""The gate between data and GPU time: is what was packed worth training on?"""

import logging

from flows.config import GatesConfig
from flows.stage_id import Role, StageId
from flows.stages.stage import Built, Inputs, Site, Stage
from storage.config import Config, Json
from storage.errors import DataError
from storage.home import marks
from storage.tally import Tally

ID = StageId("quality gate")
DECISIVE = {"minimum_hours", "maximum_failures", "maximum_silence", "action"}
"""Settings that a finished gate depends on."""


def faults_of(census: Json, gates: GatesConfig) -> list[str]:
    """Return where a corpus is worse than the gates allow, each as a sentence with both numbers."""
    tracks, hours, lost = census["tracks_in"], census["hours_in"], census["hours_lost"]
    failed = Tally.from_facts(census).failed / tracks if tracks else 0.0
    silent = (lost.get("silent", 0.0) + lost.get("unclipped", 0.0)) / hours if hours else 0.0
    faults = []
    if census["hours"] < gates.minimum_hours:
        kept = f"{census['hours']:.2f} hours of music are kept"
        faults.append(f"{kept}, but gates.minimum_hours is {gates.minimum_hours:g}")
    if failed > gates.maximum_failures:
        limit = f"but gates.maximum_failures is {gates.maximum_failures:.1%}"
        faults.append(f"{failed:.1%} of the tracks failed, {limit}")
    if silent > gates.maximum_silence:
        limit = f"but gates.maximum_silence is {gates.maximum_silence:.1%}"
        faults.append(f"{silent:.1%} of the decoded hours are dropped for silence, {limit}")
    return faults


def _examine(site: Site, gates: GatesConfig, inputs: Inputs) -> Built:
    """Return the census unchanged, so that later stages have the same keys as without a gate."""
    census = inputs["census"]
    faults = faults_of(census.facts, gates)
    listed = "; ".join(faults)
    if faults and gates.action == "block":
        raise DataError(
            f"the data is not good enough: {listed}. Repair the archive, lower the gate, or "
            "continue with '--set gates.action=warn'"
        )
    if faults:
        site.watch.log(f"the data is worse than the gates ask: {listed}", logging.WARNING)
    marks.fetch(site.home, [census], lambda output: True)
    decisive = [output for output in census.outputs if not output.about]
    outputs = {output.label: site.home.path(output.path) for output in decisive}
    return Built(outputs, {"faults": faults})


def _decisive(gates: Config) -> Json:
    return gates.model_dump(mode="json", include=DECISIVE)


GATE = Stage("quality-gate", 1, _examine, matters=_decisive, role=Role.GATE)
