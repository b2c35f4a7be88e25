"""An aggregate that asks a model: every call is under a state that exists, and says whose it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elspeth_dagster.landscape import Landscape
from elspeth_dagster.model.outcome import BatchTrigger
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.scenarios.conftest import findings
from tests.support import Project, model_at

LEVEL = {"level": {"type": "int", "minimum": 1, "maximum": 9}}
QUERIES = {
    name: {"prompt": f"{name}? {{{{ row.text }}}}", "answer": LEVEL}
    for name in ("severity", "clarity", "tone")
}
SUMMARY = "Sum up {% for one in rows %}{{ one.text }} {% endfor %}"


def asked(base_url: str, run: dict[str, Any], **aggregate: Any) -> dict[str, Any]:
    return {
        "name": "asked",
        "models": {"default": model_at(base_url)},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {
            "gather": {
                "kind": "aggregate",
                "from": "source",
                "trigger": {"count": 5},
                "run": {"kind": "llm", "pool": {"pool_size": 8}, **run},
                "on_error": "failures",
                **aggregate,
            }
        },
        "sinks": {
            "out": {"kind": "jsonl", "from": "gather", "path": "out.jsonl"},
            "failures": {"kind": "jsonl", "path": "failures.jsonl"},
        },
    }


def calls_by_state(project: Project) -> dict[str, list[tuple[int, str]]]:
    found = project.query("SELECT state_id, call_index, query FROM calls ORDER BY state_id, call_index")
    made: dict[str, list[tuple[int, str]]] = {}
    for state_id, index, query in found:
        made.setdefault(state_id, []).append((index, query))
    return made


def test_every_call_about_a_member_is_under_its_state_without_a_gap_on_many_threads(project: Project) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=5, latency_spread=0.5)) as server:
        run = {"queries": QUERIES, "pool": {"pool_size": 24}}
        project.declare(asked(server.base_url, run, output_mode="passthrough"))
        assert project.run().success
        assert server.stats().peak_in_flight > 8  # five members of three queries are fifteen: batches overlap
    by_state = calls_by_state(project)
    assert len(by_state) == 60
    for state_id, calls in by_state.items():
        assert state_id.endswith("@gather")
        assert [index for index, _ in calls] == [0, 1, 2]
        assert {query for _, query in calls} == set(QUERIES)
    assert project.query(
        "SELECT count(*) FROM calls LEFT JOIN node_states USING (state_id) LEFT JOIN batch_members "
        "ON batch_members.token_id = node_states.token_id WHERE batch_members.batch_id IS NULL"
    ) == [(0,)]
    rows = project.jsonl("out.jsonl")
    assert [row["id"] for row in rows] == list(range(60))
    assert sorted(rows[0]) == ["clarity_level", "id", "severity_level", "text", "tone_level"]
    assert findings(project) == []


def test_every_state_is_durable_before_the_first_call_of_its_batch(project: Project) -> None:
    with FakeModelServer() as server:
        project.declare(asked(server.base_url, {"queries": QUERIES}))
        assert project.run().success
    late = project.query(
        "SELECT count(*) FROM batches b JOIN batch_members m USING (batch_id) JOIN node_states s "
        "ON s.token_id = m.token_id AND s.node_id = 'gather' JOIN batch_members other "
        "ON other.batch_id = b.batch_id JOIN calls c ON c.state_id = other.token_id || '@gather' "
        "WHERE c.sent_at < s.started_at"
    )
    assert late == [(0,)]
    assert project.query("SELECT count(*) FROM tokens WHERE row_id IS NULL") == [(60,)]
    assert project.query("SELECT count(*) FROM token_parents") == [(300,)]
    assert findings(project) == []


def test_a_prompt_over_the_batch_is_under_the_state_of_the_row_that_it_becomes(project: Project) -> None:
    with FakeModelServer() as server:
        project.declare(asked(server.base_url, {"prompt": SUMMARY, "answer": LEVEL}, expected_output_count=1))
        assert project.run().success
        assert server.stats().requests == 12
    by_state = calls_by_state(project)
    ((key,),) = project.query("SELECT run_key FROM runs")
    assert list(by_state) == sorted(f"{key}/gather#{index}/0@gather" for index in range(12))
    states = project.query(
        "SELECT s.status, s.out_port, s.input_hash IS NULL, s.output_hash IS NULL, count(*) FROM node_states s "
        "JOIN batch_outputs USING (token_id) WHERE s.node_id = 'gather' GROUP BY 1, 2, 3, 4"
    )
    assert states == [("completed", "out", True, False, 12)]
    assert project.query("SELECT count(*) FROM token_parents WHERE token_id LIKE '%#3/0'") == [(5,)]
    assert len(project.jsonl("out.jsonl")) == 12
    assert findings(project) == []


def test_the_row_of_an_answer_about_a_group_begins_with_the_groups_fields(project: Project) -> None:
    with FakeModelServer() as server:
        declared = asked(server.base_url, {"prompt": SUMMARY, "answer": LEVEL}, group_by=["third"])
        declared["steps"]["thirds"] = {"kind": "map", "from": "source", "set": {"third": "row.id % 3"}}
        declared["steps"]["gather"] = {**declared["steps"]["gather"], "from": "thirds"}
        declared["sinks"]["out"] |= {"kind": "csv", "path": "out.csv"}
        project.declare(declared)
        assert project.run().success
    rows = project.csv("out.csv")
    assert list(rows[0]) == ["third", "level"]
    assert [row["third"] for row in rows] == ["0", "1", "2"] * 4
    assert findings(project) == []


def test_a_member_that_fails_fails_its_batch_and_what_is_lost_is_not_paid_for(project: Project) -> None:
    with FakeModelServer(FakeModelSettings(rules=(Rule("severity? row-11.", Fault.REFUSAL),))) as server:
        run = {"queries": QUERIES, "pool": {"pool_size": 1}}
        project.declare(asked(server.base_url, run, output_mode="passthrough"))
        assert project.run().success
        # Of the third batch: row 10's three, and row 11's refused twice; then nobody is asked any more.
        assert server.stats().requests == 11 * 15 + 3 + 2
    failures = {row["id"]: row["_error"] for row in project.jsonl("failures.jsonl")}
    assert list(failures) == [10, 11, 12, 13, 14]
    assert failures[11]["code"] == "query_failed"
    assert {failures[row]["code"] for row in (10, 12, 13, 14)} == {"member_failed"}
    assert failures[12]["members"] == [{"ordinal": 1, "code": "query_failed"}]
    assert [row["id"] for row in project.jsonl("out.jsonl")] == [*range(10), *range(15, 60)]
    assert project.query("SELECT batch_index FROM batches WHERE status = 'failed'") == [(2,)]
    assert findings(project) == []


def test_a_prompt_over_the_batch_that_fails_fails_every_member(project: Project) -> None:
    with FakeModelServer(FakeModelSettings(rules=(Rule("row-11.", Fault.REFUSAL),))) as server:
        project.declare(asked(server.base_url, {"prompt": SUMMARY, "answer": LEVEL}))
        assert project.run().success
    failures = {row["id"]: row["_error"]["code"] for row in project.jsonl("failures.jsonl")}
    assert failures == dict.fromkeys(range(10, 15), "refused")
    assert len(project.jsonl("out.jsonl")) == 11
    assert project.query("SELECT outcome, error_code FROM token_outcomes WHERE token_id LIKE '%#2/0'") == [
        ("failed", "refused")
    ]
    assert project.query("SELECT count(*) FROM batch_outputs WHERE batch_id LIKE '%#2'") == [(0,)]
    ((error,),) = project.query("SELECT error_json FROM batches WHERE status = 'failed'")
    assert json.loads(error)["code"] == "refused"
    assert findings(project) == []


@pytest.mark.parametrize("run", [{"queries": QUERIES}, {"prompt": SUMMARY, "answer": LEVEL}])
def test_a_node_that_stopped_in_the_middle_takes_over_its_answers_batch_by_batch(
    project: Project, run: dict[str, Any]
) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=2, rules=(Rule("row-33.", Fault.HTTP_401),))) as server:
        project.declare(asked(server.base_url, run))
        first = project.run()
        assert not first.success
        executing = project.query("SELECT count(*) FROM batches WHERE status = 'executing'")[0][0]
        assert executing >= 1
        cut = project.query(
            "SELECT batch_id, ordinal, token_id FROM batch_members ORDER BY batch_id, ordinal"
        )
        assert project.query("SELECT count(*) FROM node_states WHERE status IN ('open', 'failed')") == [(0,)]

        server.change(rules=())
        assert project.run(resume=first.run_id).success

        assert server.stats().repeated == 0
    now = project.query("SELECT batch_id, ordinal, token_id FROM batch_members ORDER BY batch_id, ordinal")
    assert len(now) == 60
    assert set(cut) <= set(now)
    assert project.query("SELECT DISTINCT status FROM batches") == [("completed",)]
    reused = project.query("SELECT count(*) FROM calls WHERE reused_from IS NOT NULL")[0][0]
    assert reused > 0 or "prompt" in run  # one answer is a batch's end: nothing of it is left to take over
    assert findings(project) == []


def test_an_aggregate_that_asks_a_model_is_summed_up_with_its_calls_and_its_members_story_has_them(
    project: Project,
) -> None:
    with FakeModelServer() as server:
        project.declare(asked(server.base_url, {"queries": QUERIES}))
        assert project.run().success
    with Landscape.open(project.landscape_url) as landscape:
        ((run_id,),) = project.query("SELECT run_id FROM runs")
        summary = landscape.summary(run_id)
        story = landscape.explain_row(run_id, 0)
    (gather,) = [node for node in summary.nodes if node.node_id == "gather"]
    assert gather.usage is not None
    assert gather.usage.answered == 180
    assert {batch.trigger: batch.batches for batch in summary.batches} == {BatchTrigger.COUNT: 12}
    (member,) = story.tokens
    assert [len(visit.calls) for visit in member.visits] == [3]
    assert member.taken_by_batch is not None
    assert (member.taken_by_batch.ordinal, len(member.taken_by_batch.members)) == (0, 5)
    assert [one.token_id for one in member.taken_by_batch.outputs] == [
        child.token_id for child in member.children.listed
    ]
