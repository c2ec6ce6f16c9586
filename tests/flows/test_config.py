"""A study is one frozen value: what of it decides the result, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.config import LimitsConfig, StudyConfig
from flows.studies.claims import claim
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.recipes import RECIPES
from flows.studies.request import RunRequest
from storage.config import Config
from storage.errors import ConfigError, HomeConflictError
from storage.home.layout import Home
from storage.records import STEMS
from training.data.stems.config import StemsData

SMOKE = RECIPES["smoke"]()

RUNTIME = {
    "finetuning.runtime.compile",
    "finetuning.runtime.recompute",
    "pretraining.runtime.compile",
    "pretraining.runtime.recompute",
    "data.access",
    "fma.connections",
    "fma.disk_reserve_gb",
    "limits.short_of_disk",
    "gates.action",
    "gates.approval_gpu_hours",
    "gates.approval_wait_hours",
    "gates.maximum_failures",
    "gates.maximum_silence",
    "gates.minimum_hours",
    "limits.stall_minutes",
    "pretraining.runtime.gpu_tflops",
    "data.mirror",
    "data.root",
    "evaluation.separate.batch_size",
    "evaluation.workers",
    "finetuning.runtime.device",
    "finetuning.runtime.gpu_tflops",
    "finetuning.runtime.hosts",
    "finetuning.runtime.loader_workers",
    "finetuning.runtime.micro_batch",
    "finetuning.runtime.processes",
    "finetuning.runtime.snapshot_every",
    "finetuning.runtime.threads",
    "fma.engine",
    "fma.memory_mb",
    "fma.scheduler",
    "fma.timeout_seconds",
    "fma.units_per_task",
    "fma.workers",
    "limits.evaluation_hours",
    "limits.gpu_jobs",
    "limits.other_hours",
    "limits.packing_hours",
    "limits.resumes",
    "limits.selection_hours",
    "limits.training_hours",
    "musdb.workers",
    "pretraining.data.cache",
    "pretraining.data.cache_gb",
    "pretraining.runtime.device",
    "pretraining.runtime.hosts",
    "pretraining.runtime.loader_workers",
    "pretraining.runtime.micro_batch",
    "pretraining.runtime.processes",
    "pretraining.runtime.snapshot_every",
    "pretraining.runtime.threads",
    "synthesis.workers",
}
"""Every setting that says where or how fast, by hand."""


def words() -> list[str]:
    """Return every word that some setting may be, a checksum among them."""
    found = {"0" * 40, "cpu"}
    queue = [Config]
    while queue:
        config = queue.pop()
        queue += config.__subclasses__()
        for field in config.model_fields.values():
            said = re.findall(r"Literal\[([^\]]*)\]", str(field.annotation))
            said += [str(field.annotation)] if get_origin(field.annotation) is Literal else []
            found |= {word for text in said for word in re.findall(r"'([^']*)'", text)}
    return sorted(found)


WORDS = words()


def leaves(values: Any, path: str = "") -> dict[str, Any]:
    """Return every single setting by its dotted path."""
    if not isinstance(values, dict):
        return {path: values}
    return {
        name: leaf
        for key, value in values.items()
        for name, leaf in leaves(value, f"{path}.{key}".strip(".")).items()
    }


def alike(path: str) -> tuple[str, ...]:
    """Return the settings that are the same by rule: of both halves' models, but for outputs."""
    _, _, setting = path.partition(".model.")
    if setting in ("", "outputs"):
        return (path,)
    return tuple(f"{one}.model.{setting}" for one in ("pretraining", "finetuning"))


LEAVES = leaves(SMOKE.model_dump(mode="json"))


def other(path: str, value: Any) -> MixitStudyConfig | None:
    """Return the study with one setting changed, or nothing if every change is refused."""
    changes: list[Any] = [not value] if isinstance(value, bool) else []
    if isinstance(value, int | float) and not isinstance(value, bool):
        changes = [change for change in (value * 2, value + 1, value / 2, 0.5) if change != value]
    if isinstance(value, str | None):
        changes = [word for word in WORDS if word != value]
    if value is None:
        changes.append(0.5)
    for change in changes:
        try:
            changed = SMOKE.override([f"{one}={json.dumps(change)}" for one in alike(path)])
        except ConfigError:
            continue
        # A kind may be known by a former name, too.
        if changed != SMOKE:
            return changed
    return None


@pytest.mark.parametrize("path", sorted(LEAVES))
def test_a_setting_decides_the_result_or_the_runtime(path: str) -> None:
    changed = other(path, LEAVES[path])
    if changed is None:
        fixed = path.endswith(".kind") or path == "finetuning.model.outputs"
        assert fixed or isinstance(LEAVES[path], list), "only these are fixed"
        return
    assert changed != SMOKE
    assert (changed.digest() == SMOKE.digest()) == (path in RUNTIME)


def test_every_runtime_setting_exists() -> None:
    assert set(LEAVES) >= RUNTIME


@given(st.integers(1, 1000), st.floats(0.01, 1e4), st.text(max_size=20))
def test_neither_limits_nor_places_decide(jobs: int, hours: float, root: str) -> None:
    settings = [
        f"limits.gpu_jobs={jobs}",
        f"limits.training_hours={hours}",
        f"data.root={json.dumps(root)}",
    ]
    assert SMOKE.override(settings).digest() == SMOKE.digest()


@pytest.mark.parametrize("name", ["demo", "fma_large.2", "a-b", "0"])
def test_names_that_make_good_file_names(name: str) -> None:
    assert SMOKE.override([f'name="{name}"']).name == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "A", "a b", "../a", "ä", "a\n"])
def test_names_that_do_not(name: str) -> None:
    with pytest.raises(ConfigError, match="'name' ="):
        SMOKE.override([f"name={json.dumps(name)}"])


@pytest.mark.parametrize(
    "setting",
    ["limits.training_hours=0", "limits.gpu_jobs=0", "limits.training_hour=1", "limits.resumes=-1"],
)
def test_limits_are_refused_at_once(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"training_hour|gpu_jobs|resumes"):
        SMOKE.override([setting])


def test_defaults_are_documented() -> None:
    """Every setting of the study's own configs says what it is, or is itself a config."""
    for kind in (StudyConfig, MixitStudyConfig, LimitsConfig):
        for name, field in kind.model_fields.items():
            is_config = isinstance(field.default, Config)
            assert field.description or is_config or name in ("finetuning",), name


def test_an_order_knows_its_archives_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = RunRequest("study", "smoke", ["data.root=archives"], "home").config
    assert config.data.root == str(tmp_path / "archives")
    assert config.digest() == SMOKE.digest()


def test_an_order_for_no_flow() -> None:
    with pytest.raises(ConfigError, match="the flows are study, fma, musdb, pretrain"):
        RunRequest("everything", "smoke", [], "home")


def test_a_home_keeps_one_configuration_under_a_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    claim(home, SMOKE, "study")
    faster = SMOKE.override(["fma.workers=3"])
    claim(home, faster, "study")
    held = json.loads(home.study("smoke").read_text())
    assert MixitStudyConfig.parse(held["config"]) == faster, "the last runtime settings are kept"
    before = home.study("smoke").read_bytes()
    with pytest.raises(HomeConflictError, match=r"fma\.seed: 0 -> 1"):
        claim(home, SMOKE.override(["fma.seed=1"]), "study")
    assert home.study("smoke").read_bytes() == before
    claim(home, SMOKE.override(["fma.seed=1", "name=other"]), "study")


@pytest.mark.parametrize("address", ["https://me:mine@host/fma", "https://host/fma?token=mine"])
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="no place for secrets") as caught:
        SMOKE.override([f"data.mirror={address}"])
    assert "mine" not in str(caught.value)


TWO = 'stems=["vocals","rest"]'


def test_stems_are_set_everywhere_at_once() -> None:
    two = SMOKE.override([TWO])
    assert two.stems == two.selection.stems == two.evaluation.stems == ("vocals", "rest")
    data = two.finetuning.data
    assert isinstance(data, StemsData)
    assert (data.stems, two.finetuning.model.outputs) == (("vocals", "rest"), 2)
    assert two.pretraining == SMOKE.pretraining, "it knows no stems"
    assert two.override(['stems=["vocals","bass","drums","other"]']).finetuning.model.outputs == 4
    assert two.digest() != SMOKE.digest()


def test_stems_that_are_the_default_key_nothing() -> None:
    assert "stems" not in SMOKE.what_matters()
    assert SMOKE.override([f"stems={json.dumps(STEMS)}"]) == SMOKE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['selection.stems=["vocals","rest"]'], r'stems = \["bass".*but selection\.stems = \["voc'),
        ([TWO, 'evaluation.stems=["vocals"]'], r"rest\"\], but evaluation\.stems = .*--set stems="),
    ],
)
def test_parts_of_a_study_that_disagree_on_stems(settings: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SMOKE.override(settings)


@pytest.mark.parametrize("value", ["vocals", "[]", "3", "[1]"])
def test_stems_that_are_none(value: str) -> None:
    with pytest.raises(ConfigError, match="stems"):
        SMOKE.override([f"stems={value}"])
