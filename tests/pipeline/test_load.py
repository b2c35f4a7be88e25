"""Loading a declaration: a right one becomes a graph, a wrong one gives every mistake at once, each with its place."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Home
from elspeth_dagster.pipeline import Pipeline, Port, load_pipeline, pipeline_from
from tests.pipeline.conftest import Load, Mistakes


def _only(found: tuple[str, ...]) -> str:
    assert len(found) == 1, found
    return found[0]


def test_a_right_declaration_becomes_a_graph_in_topological_order(load: Load, good: str) -> None:
    pipeline = load(good)

    assert pipeline.name == "bank"
    order = list(pipeline.nodes)
    assert sorted(order) == sorted(
        ["source", "tidy", "judge", "triage", "urgent", "normal", "failures", "bad"]
    )
    assert all(order.index(start) < order.index(end) for start, _, end in pipeline.edges())
    assert pipeline.takers(Port("triage", "urgent")) == ("urgent",)
    assert pipeline.nodes["failures"].takes_errors == {Port("judge", "error")}
    assert pipeline.nodes["judge"].line == 11


def test_a_components_file_and_a_plain_one_declare_the_same(load: Load, folder: Path, good: str) -> None:
    good = good.replace("float?", '"float?"')
    indented = "".join(f"  {line}\n" for line in good.splitlines())
    (folder / "defs.yaml").write_text(
        f"type: elspeth_dagster.PipelineComponent\nattributes:\n{indented}", "utf-8"
    )

    component = load_pipeline(folder)

    assert component.spec == load(good).spec
    assert component.nodes["judge"].line == 13


def test_ten_mistakes_are_told_together_in_the_order_of_the_file(mistakes: Mistakes) -> None:
    found = mistakes(
        """\
        name: Bank
        models:
          default: {provider: opnai, model: m}
        source:
          kind: csv
          path: ../../../in.csv
          columns: {id: int, text: txt}
          on_invalid: bed
        steps:
          tidy: {kind: map, from: source, rename: {txt: body}}
          judge:
            kind: llm
            from: tidy
            promt: "{{ row.text }}"
            pool: {pool_size: 0}
          triage:
            kind: gate
            from: judgee
            routes: {urgent: "row.urgency >"}
            otherwise: normal
        sinks:
          urgent: {kind: cvs, from: triage.urgent, path: out/u.csv}
          normal: {kind: jsonl, from: triage.normal, path: out/n.jsonl}
          bad: {kind: jsonl, path: out/bad.jsonl}
        """
    )

    places_and_beginnings = [
        "p.yaml:1: name: The name 'Bank' must be lower case letters",
        "p.yaml:3: models.default.provider: 'opnai' is none of openai, azure, openrouter. Did you mean 'openai'?",
        "p.yaml:6: source.path: '../../../in.csv' leads outside of the project",
        "p.yaml:7: source.columns.text: Column 'text' has the unknown type 'txt'",
        "p.yaml:8: source.on_invalid: There is no sink 'bed'. Did you mean 'bad'?",
        "p.yaml:10: steps.tidy.rename.txt: Field 'txt' does not reach this step. Columns there: id, text. Did you",
        "p.yaml:14: steps.judge.promt: Unknown key 'promt'. Did you mean 'prompt'?",
        "p.yaml:15: steps.judge.pool.pool_size: Input should be greater than or equal to 1 (it is 0).",
        "p.yaml:18: steps.triage.from: There is no step 'judgee'. Did you mean 'judge'?",
        "p.yaml:19: steps.triage.routes.urgent: ",
        "p.yaml:22: sinks.urgent.kind: Unknown kind 'cvs'. Did you mean 'csv'? Kinds here: csv, jsonl, parquet, sql.",
    ]
    assert len(found) == len(places_and_beginnings), found
    for mistake, beginning in zip(found, places_and_beginnings, strict=True):
        assert mistake.startswith(beginning)


@pytest.mark.parametrize("name", ["a-b", "Source", "source", "discard", "out", "error", "1a", "ä", "x" * 61])
def test_names_that_cannot_be_are_refused(mistakes: Mistakes, good: str, name: str) -> None:
    found = mistakes(good.replace("tidy", name))

    assert any(mistake.startswith(f"p.yaml:10: steps.{name}: The name {name!r}") for mistake in found)


def test_a_step_and_a_sink_cannot_share_a_name(mistakes: Mistakes, good: str) -> None:
    found = mistakes(good.replace("  urgent: {kind: csv", "  tidy: {kind: csv"))

    assert _only(found) == "p.yaml:24: sinks.tidy: A step is called 'tidy' already; choose another name."


def test_a_sink_may_be_called_out(load: Load, good: str) -> None:
    pipeline = load(good.replace("  normal: {kind: jsonl", "  out: {kind: jsonl"))

    assert "out" in pipeline.nodes


def test_a_misspelt_section_does_not_hide_the_mistakes_of_the_nodes(mistakes: Mistakes, good: str) -> None:
    found = mistakes(good.replace("sinks:", "sinc:").replace("row.urgency >= 4", "row.urgency >="))

    assert [mistake.split(": ")[1] for mistake in found] == ["steps.triage.routes.urgent", "sinc"]


def test_a_line_in_a_long_prompt_is_the_files_line(mistakes: Mistakes, good: str) -> None:
    prompt = "prompt: |\n      How urgent is this?\n      {{ row.txt }}"
    found = mistakes(good.replace('prompt: "How urgent is this? {{ row.text }}"', prompt))

    assert _only(found).startswith("p.yaml:16: steps.judge.prompt: Field 'txt' does not reach this prompt.")


def test_a_mistake_in_a_prompts_file_names_the_file_and_its_line(
    mistakes: Mistakes, folder: Path, good: str
) -> None:
    (folder / "judge.txt").write_text("How urgent?\n{{ row.txt }}\n", "utf-8")
    found = mistakes(good.replace('prompt: "How urgent is this? {{ row.text }}"', "prompt_file: judge.txt"))

    assert _only(found).startswith(
        "p.yaml:14: steps.judge.prompt_file: judge.txt, line 2: Field 'txt' does not"
    )


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "p.yaml: It is empty."),
        ("# nothing\n", "p.yaml: It is empty."),
        ("- a\n- b\n", "p.yaml: It holds a list, not keys."),
        ("hello\n", "p.yaml: It holds text, not keys."),
        ("type: dagster.Other\nattributes: {}\n", "p.yaml:1: It declares a component of type 'dagster.Other'."),
        ("type: elspeth_dagster.PipelineComponet\nattributes: {}\n", "p.yaml:1: It declares a component of type"),
        ("attributes: {name: x}\n", "p.yaml:1: The key 'type' is missing. The type of a pipeline is"),
        ("type: elspeth_dagster.PipelineComponent\n", "p.yaml:1: attributes: Expected the pipeline's keys"),
    ],
)  # fmt: skip
def test_a_file_that_declares_no_pipeline_is_refused(mistakes: Mistakes, text: str, mistake: str) -> None:
    assert _only(mistakes(text)).startswith(mistake)


def test_a_declaration_of_nothing_names_what_is_missing(mistakes: Mistakes) -> None:
    assert set(mistakes("steps:\n")) == {
        "p.yaml:1: declaration: The key 'source' is missing.",
        "p.yaml:1: name: The key 'name' is missing.",
    }


@pytest.mark.parametrize("port", ["out", "error", "discard", "Urgent", "a-b"])
def test_ports_that_cannot_be_are_refused(mistakes: Mistakes, good: str, port: str) -> None:
    found = mistakes(good.replace("otherwise: normal", f"otherwise: {port}"))

    assert any(mistake.startswith("p.yaml:22: steps.triage.otherwise: Port") for mistake in found)


def test_dagsters_own_reader_is_thought_of(folder: Path, good: str) -> None:
    indented = "".join(f"  {line}\n" for line in good.splitlines())
    (folder / "defs.yaml").write_text(
        f"type: elspeth_dagster.PipelineComponent\nattributes:\n{indented}", "utf-8"
    )

    with pytest.raises(DeclarationError) as raised:
        load_pipeline(folder)

    assert _only(raised.value.mistakes).startswith(
        "defs.yaml:9: source.columns.amount: A text with a `?` inside {...} or [...] needs quotes here"
    )


@pytest.mark.parametrize("section", ["steps", "sinks", "models", "source"])
def test_a_section_that_is_no_mapping_is_told(mistakes: Mistakes, section: str) -> None:
    text = "name: p\nsource: {kind: csv, path: a.csv, columns: {t: str}}\n".replace(
        "source: {kind: csv, path: a.csv, columns: {t: str}}\n" if section == "source" else "\0", ""
    )

    found = mistakes(f"{text}{section}: [1]\n")

    assert any(f"{section}: Expected" in mistake and "found a list" in mistake for mistake in found)


def test_a_key_without_a_value_is_one_that_is_not_there(load: Load, good: str) -> None:
    assert load(f"{good}execution:\ndagster:\nschedule: null\n").spec == load(good).spec


def _attributes() -> dict[str, JSON]:
    return {
        "name": "p",
        "source": {"kind": "csv", "path": "a.csv", "columns": {"t": "str"}},
        "sinks": {"s": {"kind": "jsonl", "from": "source", "path": "o.jsonl"}},
    }


def test_attributes_made_in_python_are_loaded_as_well(folder: Path) -> None:
    pipeline = pipeline_from(_attributes(), base=folder)

    assert isinstance(pipeline, Pipeline)
    assert pipeline.home == Home(base=folder, root=folder.parent)
    assert pipeline.nodes["s"].line is None


def test_mistakes_in_attributes_made_in_python_have_their_path(folder: Path) -> None:
    attributes: dict[str, JSON] = {**_attributes(), "steps": {"a": {"kind": "map", "from": "sorce"}}}

    with pytest.raises(DeclarationError) as raised:
        pipeline_from(attributes, base=folder)

    assert raised.value.mistakes[0].startswith(
        "steps.a.from: There is no step 'sorce'. Did you mean 'source'?"
    )


def test_attributes_that_are_no_json_are_told_not_recorded(folder: Path) -> None:
    given: dict[str, object] = {
        **_attributes(),
        "description": "half \ud800",
        "models": {"m": {"model": "m", "price": object()}, False: {}},
        "schedule": dt.date(2026, 1, 31),
        "dagster": {"retries": 2**60},
    }

    with pytest.raises(DeclarationError) as raised:
        pipeline_from(given, base=folder)  # type: ignore[arg-type]

    told = "\n".join(raised.value.mistakes)
    assert "description: The text has a lone surrogate" in told
    assert "models.m.price: A object cannot stand in a declaration." in told
    assert "models: The key False is no text: YAML reads yes, no, on and off as true and false" in told
    assert "dagster.retries: The number is beyond the integers" in told
    assert "schedule: A schedule is a cron expression" in told


def test_the_project_is_the_nearest_folder_that_looks_like_one(load: Load, good: str, folder: Path) -> None:
    pipeline = load(good.replace("path: in.csv", "path: ../in.csv"))

    assert pipeline.home.root == folder.parent


def test_a_path_may_leave_the_project_where_that_is_allowed(load: Load, good: str) -> None:
    pipeline = load(good.replace("path: in.csv", "path: /in.csv\n  allow_outside: true"))

    assert "source" in pipeline.nodes


def test_a_key_put_into_the_wrong_place_is_not_shown(mistakes: Mistakes, good: str) -> None:
    key = "sk-" + "a1B2" * 12
    text = good.replace("api_key_env: null", f"api_key_env: {key}, provider: {key}, timeout_s: {key}")

    assert key not in "\n".join(mistakes(text.replace("provider: openai, ", "")))
