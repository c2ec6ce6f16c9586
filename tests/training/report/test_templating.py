"""Templates: escaped, strict, and part of what is installed."""

import shutil
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from training.report.templating import Column, missing, render

ROOT = Path(__file__).parents[3]


def test_values_are_escaped_and_markup_is_not() -> None:
    assert missing("<b>") == '<p class="missing">&lt;b&gt;</p>\n'
    assert missing(Markup("<b>")) == '<p class="missing"><b></p>\n'
    assert isinstance(missing(""), Markup)


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="reason"):
        render("missing.html")


def test_tables_escape_their_cells_and_align_their_numbers() -> None:
    text = render(
        "table_metrics.html", columns=[Column("<a>"), Column("n", True)], rows=[["<i>", 1.5]]
    )
    assert '<td>&lt;i&gt;</td><td class="n">1.5</td>' in text
    assert '<th scope="col">&lt;a&gt;</th><th scope="col" class="n">n</th>' in text


def test_settings_are_nested_lists() -> None:
    values = {"empty": {}, "group": {"on": True, "sizes": [1, 2]}, "nothing": None, "items": ""}
    text = render("recipe.html", recipe=values)
    for name, shown in (("empty", "none"), ("on", "yes"), ("sizes", "1, 2"), ("items", "none")):
        assert f"<dt>{name}</dt><dd>{shown}</dd>" in text
    assert text.count('<dl class="leaves">') == text.count("</dl>") == 2
    assert text.count("<h4>") == 1


def test_a_wheel_holds_every_template(tmp_path: Path) -> None:
    # From a copy: building leaves its work beside the sources.
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "training", source / "training")
    command = [
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)),
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {Path(name).name for name in archive.namelist() if "report/templates/" in name}
    assert packed == {one.name for one in files("training.report").joinpath("templates").iterdir()}
    assert {"page.html", "page.css", "macros.html"} <= packed
