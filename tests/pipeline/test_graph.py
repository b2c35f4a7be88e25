"""What the nodes of a declaration make together: circles, loose ends, and the columns that reach each node."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.conftest import Load, Mistakes


def _only(found: tuple[str, ...]) -> str:
    assert len(found) == 1, found
    return found[0]


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
