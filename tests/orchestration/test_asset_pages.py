"""What stands on an asset's page: before the first run, after one, and how little it costs Dagster's database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline
from elspeth_dagster.orchestration.specs import code_version
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv

METADATA_MAX = 30
EVENTS_MAX = 50
DAY_LINES = 28
"""What a node that takes a whole day tells of its progress."""
STORY_CHARS_MAX = 60
"""Of Markdown; some of them are marks that the page does not show. More would be cut."""
ROWS = 40


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


def specs(project: Project) -> dict[str, dg.AssetSpec]:
    pipeline = load_pipeline(project.declaration)
    definitions = build_definitions(pipeline, landscape=LandscapeResource(url=project.landscape_url))
    return {"/".join(spec.key.path[1:]): spec for spec in definitions.resolve_all_asset_specs()}


def declared(base_url: str = "http://127.0.0.1:9/v1", **llm: Any) -> dict[str, Any]:
    declaration = mood_pipeline(base_url, **llm)
    declaration["steps"]["judge"]["description"] = "How the writer feels."
    declaration["dagster"] = {"owners": ["team:moods"], "tags": {"domain": "support"}}
    return declaration


def test_a_page_has_description_kinds_owner_tags_and_the_line_of_yaml(project: Project) -> None:
    project.declare(declared())
    judge = specs(project)["judge"]
    assert judge.description == "How the writer feels."
    assert judge.kinds == {"llm", "openai"}
    assert specs(project)["triage/angry"].kinds == {"gate", "task"}  # Dagster has an icon for the second
    assert specs(project)["angry"].kinds == {"csv", "file"}
    assert list(judge.owners) == ["team:moods"]
    assert judge.tags["domain"] == "support"
    reference = judge.metadata["dagster/code_references"].code_references[0]
    assert reference.file_path == str(project.declaration)
    lines = project.declaration.read_text().splitlines()
    assert lines[reference.line_number - 1].strip() == "judge:"
    assert "leave by `angry`" in (specs(project)["triage/angry"].description or "")
    assert specs(project)["angry"].description == "Writes rows to `out/angry.csv`."


def test_columns_know_what_they_are_made_of(project: Project) -> None:
    declaration = declared()
    declaration["steps"]["score"] = {
        "kind": "map",
        "from": "judge",
        "rename": {"text": "message"},
        "set": {"loud": "row.mood == 'angry'"},
    }
    declaration["steps"]["triage"]["from"] = "score"
    project.declare(declaration)
    found = specs(project)

    def made_of(asset: str, column: str) -> list[tuple[str, str]]:
        lineage = found[asset].metadata["dagster/column_lineage"]
        return [(dep.asset_key.path[-1], dep.column_name) for dep in lineage.deps_by_column[column]]

    assert made_of("judge", "mood") == [("source", "text")]
    assert made_of("judge", "id") == [("source", "id")]
    assert made_of("score", "message") == [("judge", "text")]
    assert made_of("score", "loud") == [("judge", "mood")]
    assert made_of("triage/angry", "loud") == [("score", "loud")]


@pytest.mark.parametrize(
    ("changed", "is_other"),
    [
        ({"prompt": "Another question? {{ row.text }}"}, True),
        ({"answer": {"mood": "str"}}, True),
        ({"temperature": 0.5}, True),
        ({"pool": {"pool_size": 3}}, False),
        ({"description": "Other words."}, False),
        ({"max_error_rate": 0.9}, False),
    ],
)
def test_the_code_version_changes_when_and_only_when_the_behaviour_does(
    project: Project, changed: dict[str, Any], *, is_other: bool
) -> None:
    versions = []
    for llm in ({}, changed):
        declaration = mood_pipeline("http://127.0.0.1:9/v1", **llm)
        declaration["steps"]["triage"]["routes"] = {"angry": "row.id > 3"}
        project.declare(declaration)
        pipeline = load_pipeline(project.declaration)
        versions.append({name: code_version(node) for name, node in pipeline.nodes.items()})
    assert (versions[0]["judge"] != versions[1]["judge"]) is is_other
    assert {name for name in versions[0] if versions[0][name] != versions[1][name]} <= {"judge"}


def test_a_materialization_tells_its_story_plots_its_numbers_and_costs_few_events(project: Project) -> None:
    rules = (Rule("row-7.", Fault.CONTENT_FILTER),)
    with FakeModelServer(FakeModelSettings(rules=rules)) as server:
        project.declare(declared(server.base_url))
        result = project.run()
    assert result.success
    pages = {
        "/".join(event.asset_key.path[1:]): event.materialization.metadata
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }
    judge = pages["judge"]
    for plotted in ("rows_per_second", "latency_p95_ms", "capacity_retries", "prompt_tokens", "error_rate"):
        assert isinstance(judge[f"elspeth/{plotted}"], dg.IntMetadataValue | dg.FloatMetadataValue)
    assert isinstance(judge["elspeth/top_failures"], dg.TableMetadataValue)
    assert next(iter(judge)) == "elspeth/story"
    story = judge["elspeth/story"]
    assert isinstance(story, dg.MarkdownMetadataValue)
    assert "**40 rows decided**" in str(story.value)
    assert "**1 row failed**: 1 x `content_filtered`." in str(story.value)
    assert "- 39 rows to `triage`" in str(story.value)
    for metadata in pages.values():
        assert len(metadata) <= METADATA_MAX
        assert next(iter(metadata)) == "elspeth/story"  # a page shows them in this order
        lines = str(metadata["elspeth/story"].value).splitlines()
        assert max(map(len, lines)) <= STORY_CHARS_MAX
    by_step: dict[str, int] = {}
    with project.instance() as instance:
        for entry in instance.all_logs(result.run_id):
            if entry.step_key:
                by_step[entry.step_key] = by_step.get(entry.step_key, 0) + 1
    assert max(by_step.values()) <= EVENTS_MAX - DAY_LINES


def test_the_data_version_of_a_file_is_its_content(project: Project) -> None:
    versions = []
    with FakeModelServer() as server, project.instance() as instance:
        project.declare(mood_pipeline(server.base_url))
        for _ in range(2):
            assert project.run().success
            versions.append({name: _data_version(instance, name) for name in ("source", "judge", "rest")})
    assert versions[0]["source"] == versions[1]["source"]
    assert versions[0]["rest"] == versions[1]["rest"]
    assert versions[0]["judge"] != versions[1]["judge"]


def _data_version(instance: dg.DagsterInstance, name: str) -> str:
    event = instance.get_latest_materialization_event(dg.AssetKey(["moods", name]))
    assert event is not None
    assert event.asset_materialization is not None
    return str((event.asset_materialization.tags or {})["dagster/data_version"])


def test_a_sinks_columns_are_those_of_its_file(project: Project) -> None:
    declaration = declared()
    declaration["sinks"]["angry"]["columns"] = ["mood", "id"]
    project.declare(declaration)

    def written(sink: str) -> list[tuple[str, str]]:
        schema = specs(project)[sink].metadata["dagster/column_schema"]
        return [(column.name, column.type) for column in schema.columns]

    assert written("angry") == [("mood", "str"), ("id", "int")]
    assert written("rest") == [("id", "int"), ("text", "str"), ("mood", "str")]
    assert written("failures") == [("id", "int"), ("text", "str"), ("_error", "json")]


def test_a_story_says_what_a_node_of_its_kind_does(project: Project) -> None:
    invalid = (project.folder / "in.csv").read_text().replace("7,row-7.", "seven,row-7.")
    (project.folder / "in.csv").write_text(invalid)
    project.declare(
        {
            "name": "moods",
            "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
            "steps": {
                "split": {"kind": "fork", "from": "source", "branches": ["a", "b"]},
                "one": {"kind": "map", "from": "split.a", "set": {"x": "1"}},
                "two": {"kind": "map", "from": "split.b", "set": {"y": "2"}},
                "joined": {"kind": "coalesce", "from": {"a": "one", "b": "two"}},
                "sums": {
                    "kind": "aggregate",
                    "from": "joined",
                    "trigger": {"count": 20},
                    "run": {"kind": "stats", "fields": ["id"]},
                },
            },
            "sinks": {"out": {"kind": "csv", "from": "sums", "path": "out/sums.csv"}},
        }
    )
    result = project.run()
    assert result.success
    told = {
        "/".join(event.asset_key.path[1:]): str(event.materialization.metadata["elspeth/story"].value)
        for event in result.all_events
        if event.is_step_materialization and event.asset_key is not None
    }
    assert "**40 rows read**" in told["source"]
    assert "**1 row does not fit the columns**: 1 x `wrong_type`." in told["source"]
    assert "**39 rows sent down 2 branches**" in told["split/a"]
    assert "**78 rows of 2 branches joined into 39**" in told["joined"]
    assert "by `require_all` and `union`" in told["joined"]
    assert "**39 rows in 2 batches became 2**" in told["sums"]
    assert "**2 rows written**" in told["out"]
    assert not any("e+0" in story for story in told.values())
