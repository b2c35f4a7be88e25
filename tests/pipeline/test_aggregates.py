"""Loading refuses aggregates that cannot be, each mistake once, at its place, with what to do."""

from __future__ import annotations

import pytest

from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.pipeline.launched import Change, as_launched
from tests.pipeline.conftest import Load, Mistakes

TEXT = """\
name: sums
models:
  default: {provider: openai, model: m, base_url: "http://127.0.0.1:1/v1", api_key_env: null}
source: {kind: csv, path: in.csv, columns: {id: int, text: str}}
steps:
  tidy: {kind: map, from: source}
  total:
    kind: aggregate
    from: tidy
    trigger: {count: 3}
    run: {kind: stats, fields: [id]}
sinks:
  out: {kind: jsonl, from: total, path: out.jsonl}
"""
RUN = "run: {kind: stats, fields: [id]}"
TRIGGER = "trigger: {count: 3}"
SUMMARY = "run: {kind: llm, prompt: '{% for one in rows %}{{ one.text }}{% endfor %}', answer: {level: int}}"


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        (TRIGGER, "trigger: {}", "10: steps.total.trigger: It needs at least one of"),
        (f"    {TRIGGER}\n", "", "7: steps.total.trigger: The key 'trigger' is missing."),
        (
            TRIGGER,
            "trigger: {count: 0}",
            "10: steps.total.trigger.count: Input should be greater than or equal to 1",
        ),
        (
            TRIGGER,
            "trigger: {cuont: 3}",
            "10: steps.total.trigger.cuont: Unknown key 'cuont'. Did you mean 'count'?",
        ),
        (
            TRIGGER,
            "trigger: {condition: batch_cuont > 3}",
            "10: steps.total.trigger.condition: There is no 'batch_cuont'",
        ),
        (
            TRIGGER,
            "trigger: {condition: row.idd > 3}",
            "10: steps.total.trigger.condition: Field 'idd' does not reach",
        ),
        (
            RUN,
            "run: {kind: stat, fields: [id]}",
            "11: steps.total.run.kind: Unknown kind 'stat'. Did you mean 'stats'?",
        ),
        (RUN, "run: {fields: [id]}", "11: steps.total.run: The key 'kind' is missing."),
        (RUN, "run: stats", "11: steps.total.run: Expected keys and values, found text."),
        (
            RUN,
            "run: {kind: stats, fields: [ids]}",
            "11: steps.total.run.fields.0: Field 'ids' does not reach this step.",
        ),
        (
            RUN,
            f"{RUN}\n    group_by: [tex]",
            "12: steps.total.group_by.0: Field 'tex' does not reach this step.",
        ),
        (
            RUN,
            f"{RUN}\n    output_mode: passthrough",
            "12: steps.total.output_mode: Of a batch, `stats` makes new rows",
        ),
        (
            RUN,
            f"{RUN}\n    expected_output_count: 0",
            "12: steps.total.expected_output_count: Input should be",
        ),
        (
            RUN,
            f"{SUMMARY}\n    output_mode: passthrough",
            "12: steps.total.output_mode: Of a batch, `llm` makes new rows",
        ),
        (
            RUN,
            SUMMARY.replace("one.text", "row.text"),
            "11: steps.total.run.prompt: It is about the whole batch, not one",
        ),
        (RUN, SUMMARY.replace("rows", "row_s"), "11: steps.total.run.prompt: There is no 'row_s' here."),
        (
            RUN,
            SUMMARY.replace("kind: llm", "kind: llm, on_error: out"),
            "11: steps.total.run: The key 'on_error' belongs to",
        ),
        (
            RUN,
            SUMMARY.replace("kind: llm", "kind: llm, model: defualt"),
            "11: steps.total.run.model: There is no model",
        ),
        (
            RUN,
            SUMMARY.replace("level: int", "id: int") + "\n    group_by: [id]",
            "run.answer.id: Column 'id' is there already",
        ),
        (
            f"{TRIGGER}\n    {RUN}",
            "trigger: {count: 2000}\n    run: {kind: llm, queries: {a: {prompt: '{{ row.text }}'}}}",
            "10: steps.total.trigger.count: 2,000 rows, each with 2,000 parents",
        ),
        (
            RUN,
            "run: {kind: python, call: 'nowhere:f'}",
            "11: steps.total.run.call: There is no module 'nowhere'.",
        ),
    ],
)
def test_one_mistake_is_told_once_at_its_place(mistakes: Mistakes, old: str, new: str, mistake: str) -> None:
    (told,) = mistakes(TEXT.replace(old, new))

    assert mistake in told


def test_the_columns_that_leave_are_those_of_the_group_and_of_what_is_made(load: Load) -> None:
    grouped = TEXT.replace(RUN, f"{RUN}\n    group_by: [text]")
    asked = TEXT.replace(RUN, f"{SUMMARY}\n    group_by: [text]")

    assert (load(TEXT).nodes["total"].columns_out or ())[0] == "id_count"
    assert (load(grouped).nodes["total"].columns_out or ())[:2] == ("text", "id_count")
    assert load(asked).nodes["total"].columns_out == ("text", "level")


def test_a_launch_may_change_model_and_pool_of_what_an_aggregate_asks(load: Load) -> None:
    pipeline = load(TEXT.replace(RUN, SUMMARY))
    settings = pipeline.head.models["default"].model_copy(update={"model": "other"})

    changed = as_launched(
        pipeline, models={"second": settings}, changes={"total": Change("second", {"pool_size": 7})}
    )

    node = changed.nodes["total"]
    assert isinstance(node.config, AggregateConfig)
    llm = asking(node.config)
    assert llm is not None
    assert (llm.model, llm.pool.pool_size) == ("second", 7)
    decided, before = node.decision["run"], pipeline.nodes["total"].decision["run"]
    assert isinstance(decided, dict)
    assert isinstance(before, dict)
    assert decided["model"] != before["model"]
    assert {**decided, "model": None} == {**before, "model": None}


def test_a_pool_and_a_description_decide_nothing_and_a_prompt_does(load: Load) -> None:
    asked = TEXT.replace(RUN, SUMMARY)
    base = load(asked).nodes["total"].decision

    assert (
        load(asked.replace("kind: llm,", "kind: llm, pool: {pool_size: 9},")).nodes["total"].decision == base
    )
    assert load(asked.replace("from: tidy", "from: tidy\n    description: x")).nodes["total"].decision == base
    assert load(asked.replace("{{ one.text }}", "{{ one.id }}")).nodes["total"].decision != base
    assert load(asked.replace("count: 3", "count: 4")).nodes["total"].decision != base


def test_the_pool_and_the_budget_of_what_it_asks_are_recorded_for_each_attempt(load: Load) -> None:
    asked = SUMMARY.replace("kind: llm,", "kind: llm, pool: {pool_size: 9}, budget_tokens: 500,")

    run = load(TEXT.replace(RUN, asked)).nodes["total"].config.operational_values()["run"]

    assert isinstance(run, dict)
    assert sorted(run) == ["budget_tokens", "budget_usd", "pool"]
    assert run["budget_tokens"] == 500
