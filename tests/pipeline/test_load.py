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


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("name: bank", "nme: bank", "1: nme: Unknown key 'nme'. Did you mean 'name'?"),
        ("api_key_env: null", "api_key: x", "3: models.default.api_key: Unknown key 'api_key'. Did you mean"),
        ("path: in.csv", "pathh: in.csv", "6: source.pathh: Unknown key 'pathh'. Did you mean 'path'?"),
        ("from: tidy", "form: tidy", "13: steps.judge.form: Unknown key 'form'. Did you mean 'from'?"),
        ("from: tidy", "from_: tidy", "13: steps.judge.from_: Unknown key 'from_'. Did you mean 'from'?"),
        (
            "on_error: failures",
            "on_eror: failures",
            "17: steps.judge.on_eror: Unknown key 'on_eror'. Did you",
        ),
        (
            "pool_size: 4",
            "poolsize: 4",
            "16: steps.judge.pool.poolsize: Unknown key 'poolsize'. Did you mean 'pool_size'?",
        ),
        ("path: out/bad", "pat: out/bad", "27: sinks.bad.pat: Unknown key 'pat'. Did you mean 'path'?"),
        ("sinks:", "sink:", "23: sink: Unknown key 'sink'. Did you mean 'sinks'?"),
        (
            "sinks:",
            "dagster: {grup: x}\nsinks:",
            "23: dagster.grup: Unknown key 'grup'. Did you mean 'group'?",
        ),
        ("sinks:", "execution: {exec: x}\nsinks:", "23: execution.exec: Unknown key 'exec'."),
        (
            "sinks:",
            "execution: {executor: multi}\nsinks:",
            "23: execution.executor: There is no executor 'multi'.",
        ),
        ("sinks:", "schedule: daily\nsinks:", "23: schedule: A schedule is a cron expression"),
        ("sinks:", "dagster: {owners: [me]}\nsinks:", "23: dagster.owners.0: The owner 'me' must be"),
        ("sinks:", "dagster: {group: a-b}\nsinks:", "23: dagster.group: The group 'a-b' must be"),
        ("name: bank", "name: type", "1: name: The name 'type' has a meaning of its own in Dagster"),
        (
            "kind: gate",
            "kind: gaet",
            "19: steps.triage.kind: Unknown kind 'gaet'. Did you mean 'gate'? Kinds here: ",
        ),
        ("kind: gate\n", "type: gate\n", "18: steps.triage: The key 'kind' is missing. Kinds here: "),
        (
            "from: judge",
            "from: juge",
            "20: steps.triage.from: There is no step 'juge'. Did you mean 'judge'?",
        ),
        (
            "from: triage.urgent",
            "from: triage.urgnt",
            "24: sinks.urgent.from: 'triage' has no port 'urgnt'. Did you mean 'urgent'?",
        ),
        ("from: triage.urgent", "from: triage.", "24: sinks.urgent.from: 'triage.' names no port"),
        ("from: judge", "from: failures", "20: steps.triage.from: 'failures' is a sink: no rows leave it."),
        (
            "from: triage.normal",
            "from: judge.error",
            "25: sinks.normal.from: 'judge' has no port 'error': such rows go to",
        ),
        (
            "on_error: failures",
            "on_error: failure",
            "17: steps.judge.on_error: There is no sink 'failure'. Did you mean 'failures'?",
        ),
        (
            "on_error: failures",
            "on_error: tidy",
            "17: steps.judge.on_error: 'tidy' is a step: name a sink, or `discard`.",
        ),
        (
            "on_invalid: bad",
            "on_invalid: bat",
            "8: source.on_invalid: There is no sink 'bat'. Did you mean 'bad'?",
        ),
        (
            "{{ row.text }}",
            "{{ row.txt }}",
            "14: steps.judge.prompt: Field 'txt' does not reach this prompt. Columns there: amount, id",
        ),
        (
            "row.text | length",
            "row.txt | length",
            "10: steps.tidy.set.length: Field 'txt' does not reach this expression.",
        ),
        (
            "row.urgency >= 4",
            "row.urgncy >= 4",
            "21: steps.triage.routes.urgent: Field 'urgncy' does not reach",
        ),
        (
            "answer: {urgency:",
            'system: "{{ row.mood }}"\n    answer: {urgency:',
            "15: steps.judge.system: Field 'mood' does not reach this prompt.",
        ),
        (
            "answer: {urgency:",
            "answer: {text: str, urgency:",
            "15: steps.judge.answer.text: Column 'text' is there already",
        ),
        (
            "answer: {urgency: {type: int",
            "answer: {urgency: {type: ind",
            "15: steps.judge.answer.urgency: 'ind' is no type. Did you mean 'int'?",
        ),
        ("id: int", "id: integer", "7: source.columns.id: Column 'id' has the unknown type 'integer'"),
        (
            "id: int",
            "id: no",
            "7: source.columns.id: Expected text, found False. YAML reads yes, no, on and off",
        ),
        (
            "pool_size: 4",
            "pool_size: yes",
            "16: steps.judge.pool.pool_size: Expected a whole number, found True.",
        ),
        (
            "pool_size: 4",
            "min_dispatch_delay_ms: 9000",
            "16: steps.judge.pool: min_dispatch_delay_ms (9000) cannot exceed",
        ),
        (
            "kind: llm\n",
            "kind: llm\n    model: deflt\n",
            "13: steps.judge.model: There is no model 'deflt'. Did you mean 'default'? Models: default.",
        ),
        (
            'prompt: "How',
            'prompt_file: p.txt\n    prompt: "How',
            "14: steps.judge.prompt_file: There is a `prompt` too",
        ),
        (
            'prompt: "How urgent is this? {{ row.text }}"',
            "prompt_file: none.txt",
            "14: steps.judge.prompt_file: The prompt's file cannot be read: No such file or directory.",
        ),
        (
            'prompt: "How urgent is this? {{ row.text }}"',
            "prompt_file: ../../../x.txt",
            "14: steps.judge.prompt_file: The prompt's file cannot be read: '../..",
        ),
        (
            '    prompt: "How urgent is this? {{ row.text }}"\n',
            "",
            "11: steps.judge: The key 'prompt' is missing (or 'prompt_file', or 'queries').",
        ),
        ("path: out/urgent.csv", "path: /etc/urgent.csv", "24: sinks.urgent.path: '/etc/urgent.csv'"),
        (
            "path: out/bad.jsonl",
            "path: out/failures.jsonl",
            "27: sinks.bad.path: It is the file of 'failures' too",
        ),
        ("path: out/urgent.csv", "path: in.csv", "24: sinks.urgent.path: It is the file of 'source' too"),
        ("set: {length", "drop: text, set: {length", "10: steps.tidy.drop: Expected a list, found text."),
        (
            "from: judge",
            "from: 5",
            "20: steps.triage.from: Expected a port, as in `triage.urgent`, or a list of ports.",
        ),
        (
            "from: triage.normal",
            "from: [triage.normal, triage.normal]",
            "25: sinks.normal.from.1: 'triage.normal' is named twice.",
        ),
        (
            "path: in.csv",
            "path: in.csv\n  encoding: utf-9",
            "7: source.encoding: There is no encoding 'utf-9'",
        ),
        (
            "path: in.csv",
            "path: in.csv\n  path: other.csv",
            "7: source.path: The key 'path' is written twice: on line 6 too.",
        ),
        (
            "otherwise: normal",
            "otherwise: normal\n    max_error_rate: .nan",
            "23: steps.triage.max_error_rate: nan is not a number that JSON has.",
        ),
    ],
)
def test_one_mistake_is_told_once_with_its_place_and_what_was_meant(
    mistakes: Mistakes, good: str, old: str, new: str, mistake: str
) -> None:
    assert good.count(old) == 1

    found = mistakes(good.replace(old, new))

    _only(found)
    assert found[0].startswith(f"p.yaml:{mistake}")


def test_a_circle_is_shown_in_the_direction_of_the_rows(mistakes: Mistakes) -> None:
    found = mistakes(
        """\
        name: p
        source: {kind: csv, path: a.csv, columns: {t: str}}
        steps:
          a: {kind: map, from: c}
          b: {kind: map, from: a}
          c: {kind: map, from: b}
          alone: {kind: map, from: alone}
        sinks:
          out: {kind: jsonl, from: source, path: o.jsonl}
        """
    )

    assert found == (
        "p.yaml:4: steps.a.from: The steps feed each other in a circle: a -> b -> c -> a.",
        "p.yaml:7: steps.alone.from: The steps feed each other in a circle: alone -> alone.",
    )


def test_an_output_that_nobody_takes_is_told(mistakes: Mistakes, good: str) -> None:
    found = mistakes(
        good.replace("  normal: {kind: jsonl, from: triage.normal, path: out/normal.jsonl}\n", "")
    )

    assert _only(found) == (
        "p.yaml:18: steps.triage: Nobody takes the rows of 'triage.normal': put a sink or a step behind it."
    )


def test_several_takers_need_a_fork(mistakes: Mistakes, good: str) -> None:
    found = mistakes(good.replace("from: triage.normal", "from: [triage.normal, tidy]"))

    assert _only(found) == (
        "p.yaml:10: steps.tidy: 'tidy' has several takers (judge, normal): put a fork behind it."
    )


def test_a_sink_that_nothing_feeds_is_told(mistakes: Mistakes, good: str) -> None:
    found = mistakes(good.replace("    on_error: failures\n", ""))

    assert _only(found).startswith("p.yaml:25: sinks.failures: Nothing feeds this sink")


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


def test_mistakes_of_the_graph_are_told_beside_a_node_that_cannot_be_read(
    mistakes: Mistakes, good: str
) -> None:
    text = good.replace("kind: llm", "kind: lmm").replace("from: triage.normal", "from: triag.normal")

    found = mistakes(text)

    assert len(found) == 2
    assert found[0].startswith("p.yaml:12: steps.judge.kind: Unknown kind 'lmm'.")
    assert found[1].startswith(
        "p.yaml:25: sinks.normal.from: There is no step 'triag'. Did you mean 'triage'?"
    )


def test_what_leaves_a_node_with_a_mistake_is_not_judged(mistakes: Mistakes, good: str) -> None:
    found = mistakes(good.replace("answer: {urgency:", "anser: {urgency:"))

    assert "steps.judge.anser: Unknown key" in _only(found)


def test_a_node_with_a_mistake_is_checked_as_far_as_it_goes(mistakes: Mistakes, good: str) -> None:
    text = good.replace("pool_size: 4", "pool_size: 0").replace("{{ row.text }}", "{{ row.txt }}")

    found = mistakes(text.replace("row.urgency >= 4", "row.urgncy >= 4"))

    assert [mistake.split(": ")[1] for mistake in found] == [
        "steps.judge.prompt",
        "steps.judge.pool.pool_size",
        "steps.triage.routes.urgent",
    ]


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


def test_routes_that_meet_again_are_checked_one_by_one(mistakes: Mistakes, load: Load) -> None:
    text = """\
        name: p
        source: {kind: csv, path: a.csv, columns: {t: str}}
        steps:
          split: {kind: gate, from: source, routes: {long: "row.t | length > 9"}, otherwise: short}
          cut: {kind: map, from: split.long, set: {was_cut: "true"}}
          after: {kind: map, from: [cut, split.short], set: {x: "row.FIELD"}}
        sinks:
          all: {kind: jsonl, from: after, path: o.jsonl}
        """

    assert "steps.after.set.x: Field 'was_cut' does not reach" in _only(
        mistakes(text.replace("FIELD", "was_cut"))
    )
    after = load(text.replace("FIELD", "t")).nodes["after"]
    assert (after.columns_in, after.columns_out) == (("t", "was_cut"), ("t", "was_cut", "x"))


def test_many_routes_that_meet_again_are_still_checked_in_no_time(load: Load) -> None:
    steps, feeder = [], "source"
    for n in range(20):
        steps += [
            f"  g{n}: {{kind: gate, from: {feeder}, routes: {{a: 'true'}}, otherwise: b}}",
            f"  m{n}: {{kind: map, from: g{n}.a, set: {{f{n}: '1'}}}}",
            f"  j{n}: {{kind: map, from: [m{n}, g{n}.b]}}",
        ]
        feeder = f"j{n}"
    head = "name: p\nsource: {kind: csv, path: a.csv, columns: {t: str}}\nsteps:\n"

    pipeline = load(
        head + "\n".join(steps) + f"\nsinks:\n  s: {{kind: jsonl, from: {feeder}, path: o.jsonl}}\n"
    )

    assert pipeline.nodes["s"].columns_in is not None
    assert len(pipeline.nodes["s"].columns_in) == 21


def test_a_failed_row_reaches_its_sink_with_the_columns_that_reached_the_step(load: Load, good: str) -> None:
    pipeline = load(good)

    assert pipeline.nodes["failures"].columns_in == ("id", "text", "amount", "length")
    assert pipeline.nodes["bad"].columns_in == ("id", "text", "amount")
    assert pipeline.nodes["normal"].columns_in == ("id", "text", "amount", "length", "urgency")


def test_columns_behind_a_function_that_does_not_tell_them_are_not_judged(
    load: Load, folder: Path, good: str
) -> None:
    (folder / "rules.py").write_text("def f(row):\n    return row\n", "utf-8")
    text = good.replace(
        'kind: map, from: source, set: {length: "row.text | length"}',
        "kind: python, from: source, call: rules:f",
    )

    pipeline = load(text.replace("row.text }}", "row.anything }}"))

    assert pipeline.nodes["judge"].columns_in is None
    assert pipeline.nodes["normal"].columns_in is None


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
