"""A Dagster component and a plain file are loaded alike, and their mistakes have the same places."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.orchestration.component import PipelineComponent
from elspeth_dagster.pipeline import load_pipeline
from tests.pipeline.conftest import GOOD

# Dagster reads a component through a function that pydantic is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

_QUOTED = GOOD.replace("float?", '"float?"')


def _component(folder: Path, text: str) -> PipelineComponent:
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    (folder / "defs.yaml").write_text(
        f"type: elspeth_dagster.PipelineComponent\nattributes:\n{indented}", "utf-8"
    )
    component: PipelineComponent = PipelineComponent.resolve_from_yaml(text)
    return component


def test_a_component_decides_like_the_file_it_stands_in(folder: Path) -> None:
    component = _component(folder, _QUOTED)

    pipeline, from_file = component.pipeline(folder), load_pipeline(folder)

    assert pipeline.edges() == from_file.edges()
    assert [node.decision for node in pipeline.nodes.values()] == [
        node.decision for node in from_file.nodes.values()
    ]


def test_a_null_inside_a_component_is_kept(folder: Path) -> None:
    settings = _component(folder, _QUOTED).pipeline(folder).model("default")

    assert settings is not None
    assert settings.api_key_env is None


def test_a_components_mistakes_have_the_lines_of_its_file(folder: Path) -> None:
    text = _QUOTED.replace("{{ row.text }}", "{{ row.txt }}").replace("on_invalid: bad", "on_invalid: bat")
    component = _component(folder, text)

    with pytest.raises(DeclarationError) as raised:
        component.pipeline(folder)

    assert [mistake.split(" ")[0] for mistake in raised.value.mistakes] == ["defs.yaml:10:", "defs.yaml:16:"]


def test_what_a_component_says_to_dagster_alone_is_no_mistake_of_its_file(folder: Path) -> None:
    translated = f"{_QUOTED}translation:\n  tags: {{step: '{{{{ node.kind }}}}'}}\n"
    _component(folder, translated)

    assert load_pipeline(folder).name == "bank"
    (folder / "plain.yaml").write_text(translated, "utf-8")
    with pytest.raises(DeclarationError, match="Unknown key 'translation'"):
        load_pipeline(folder / "plain.yaml")


def test_a_subclass_of_the_component_is_read_with_a_word_about_what_is_not(folder: Path) -> None:
    _component(folder, _QUOTED)
    (folder / "defs.yaml").write_text(
        (folder / "defs.yaml").read_text("utf-8").replace("elspeth_dagster.PipelineComponent", "shop.Watched")
    )
    pipeline = load_pipeline(folder)

    assert pipeline.name == "bank"
    (doubt,) = pipeline.warnings
    assert str(doubt) == (
        "It is a shop.Watched: what that class changes holds where Dagster loads it, not here."
    )


def test_dagsters_reader_and_ours_agree_on_everything_but_a_bare_question_mark() -> None:
    assert yaml.safe_load(_QUOTED)["source"]["columns"]["amount"] == "float?"
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(GOOD)
