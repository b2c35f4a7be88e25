"""The component as `dg`'s users meet it: documented, scaffolded, checked, and theirs to change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from elspeth_dagster import LandscapeResource, PipelineComponent, build_definitions
from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.orchestration.scaffold_files import DECLARATION
from elspeth_dagster.orchestration.scaffolding import PipelineScaffolder, pipeline_name
from elspeth_dagster.pipeline import Node, pipeline_from

BIN = Path(sys.executable).parent
TYPE = "elspeth_dagster.PipelineComponent"


def schema() -> dict[str, Any]:
    model = PipelineComponent.get_model_cls()
    assert model is not None
    return model.model_json_schema()


def test_every_field_is_described_and_has_an_example() -> None:
    for name, field in schema()["properties"].items():
        if name == "translation":  # Dagster's resolver for it keeps no description: see the component's docs
            continue
        assert field.get("description"), name
        assert field.get("examples"), name


def test_the_schema_names_the_kinds_and_describes_their_keys() -> None:
    steps = schema()["properties"]["steps"]["additionalProperties"]
    assert "llm" in steps["properties"]["kind"]["enum"]
    (llm,) = [one["then"] for one in steps["allOf"] if one["if"]["properties"]["kind"]["const"] == "llm"]
    assert llm["properties"]["prompt"]["description"]
    assert llm["additionalProperties"] is False
    assert "$ref" not in json.dumps(steps)


@pytest.mark.parametrize(
    ("folder", "name"), [("triage", "triage"), ("My-Pipe", "my_pipe"), ("2026", "pipeline_2026")]
)
def test_a_folders_name_becomes_a_name_that_a_pipeline_may_have(folder: str, name: str) -> None:
    assert pipeline_name(folder) == name


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as `dg` expects it, without any pipeline yet."""
    (tmp_path / "src" / "shop" / "defs").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "__init__.py").touch()
    (tmp_path / "src" / "shop" / "defs" / "__init__.py").touch()
    (tmp_path / "src" / "shop" / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n\n"
        "@dg.definitions\ndef defs():\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "0.1"\n[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "shop"\n'
    )
    return tmp_path


def dg_command(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(project / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [BIN / "dg", *words],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "DAGSTER_HOME": str(project),
            "VIRTUAL_ENV": str(BIN.parent),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
def test_a_scaffolded_pipeline_is_checked_loads_and_runs(project: Path) -> None:
    made = dg_command(project, "scaffold", "defs", TYPE, "triage")
    assert made.returncode == 0, made.stdout + made.stderr
    file = project / "src" / "shop" / "defs" / "triage" / "defs.yaml"
    assert "name: triage" in file.read_text()
    for check in ("yaml", "defs"):
        done = dg_command(project, "check", check)
        assert done.returncode == 0, done.stdout + done.stderr
    run = subprocess.run(
        [BIN / "elspeth-dagster", "run", str(file)],
        cwd=project, env={**os.environ, "DAGSTER_HOME": str(project)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert (file.parent / "out" / "urgent.csv").read_text().count("\n") == 2


def scaffold(project: Path, name: str, *, form: Any = "yaml") -> Path:
    folder = project / "src" / "shop" / "defs" / name
    folder.mkdir()
    request: dg.ScaffoldRequest[Any] = dg.ScaffoldRequest(
        type_name=TYPE, target_path=folder, scaffold_format=form, project_root=project, params=None
    )
    PipelineScaffolder().scaffold(request)
    return folder


def test_the_first_scaffolded_pipeline_brings_the_landscape_with_it(project: Path) -> None:
    shared = scaffold(project, "triage").parent / "landscape.py"
    names: dict[str, Any] = {"__file__": str(shared)}
    exec(compile(shared.read_text(), shared, "exec"), names)  # noqa: S102 - what was just written
    resources = names["landscape"]().resources
    assert resources["landscape"].resolved_url() == f"sqlite:///{project}/.elspeth/landscape.db"


def test_a_project_with_a_landscape_gets_no_second_one(project: Path) -> None:
    own = project / "src" / "shop" / "resources.py"
    own.write_text("from elspeth_dagster import LandscapeResource\n")
    assert not (scaffold(project, "triage").parent / "landscape.py").exists()
    own.unlink()
    theirs = project / "src" / "shop" / "defs" / "landscape.py"
    theirs.write_text("# of plains and hills\n")
    scaffold(project, "other")
    assert theirs.read_text() == "# of plains and hills\n"


def test_a_pipeline_in_python_is_not_scaffolded_and_the_user_told_what_to_write(project: Path) -> None:
    with pytest.raises(click.UsageError, match="build_definitions"):
        scaffold(project, "triage", form="python")


@pytest.mark.long
def test_dg_tells_mistakes_with_file_and_line(project: Path) -> None:
    folder = project / "src" / "shop" / "defs" / "triage"
    folder.mkdir()
    text = DECLARATION.replace("PIPELINE_NAME", "triage")
    (folder / "defs.yaml").write_text(text.replace("fields: [text]", "feilds: [text]"))
    done = dg_command(project, "check", "yaml")
    assert done.returncode != 0
    assert "defs.yaml:" in done.stdout + done.stderr
    assert "'feilds' was unexpected" in done.stdout + done.stderr
    (folder / "defs.yaml").write_text(text.replace("from: screened", "from: screend"))
    done = dg_command(project, "check", "defs")
    assert done.returncode != 0
    assert "Did you mean 'screened'?" in done.stdout + done.stderr


def declaration(folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "messages.csv").write_text("id,text,amount\n1,fraud!,3\n2,hello,\n")
    document: dict[str, Any] = yaml.safe_load(DECLARATION.replace("PIPELINE_NAME", "triage"))
    document["attributes"]["source"]["path"] = str(folder / "data" / "messages.csv")
    document["attributes"]["source"]["allow_outside"] = True
    for name, sink in document["attributes"]["sinks"].items():
        sink |= {"path": str(folder / name), "allow_outside": True}
    return document


@pytest.mark.filterwarnings("ignore:.parse_obj_as:DeprecationWarning")  # Dagster's own
@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")
def test_a_translation_changes_what_dagster_shows_of_every_asset(tmp_path: Path) -> None:
    with create_defs_folder_sandbox() as sandbox:
        document = declaration(tmp_path)
        document["attributes"]["translation"] = {
            "tags": {"step_kind": "{{ node.kind }}"},
            "description": "It is {{ node.node_id }}.",
        }
        path = sandbox.scaffold_component(PipelineComponent, defs_yaml_contents=document)
        with sandbox.load_component_and_build_defs(path) as (_, defs):
            specs = {spec.key.path[1]: spec for spec in whole(defs, tmp_path).resolve_all_asset_specs()}
    assert specs["triage"].tags["step_kind"] == "gate"
    assert specs["screened"].description == "It is screened."
    assert specs["screened"].tags["elspeth/pipeline"] == "triage"


class Watched(PipelineComponent):
    """What a project makes of the component."""

    def get_asset_spec(self, node: Node, spec: dg.AssetSpec) -> dg.AssetSpec:
        return super().get_asset_spec(node, spec).merge_attributes(owners=["team:watch"])

    def execute(self, context: dg.AssetExecutionContext, node: Node, run: Any) -> Iterator[Any]:
        SEEN.append(f"before {node.node_id}")
        yield from run()
        SEEN.append(f"after {node.node_id}")


SEEN: list[str] = []


def attributes(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = declaration(folder)["attributes"]
    return made


def build(component: PipelineComponent, folder: Path) -> dg.Definitions:
    class Context:
        path = folder

    return component.build_defs(Context())  # type: ignore[arg-type] # all that it asks of a context


def test_a_subclass_changes_specs_and_surrounds_each_nodes_run(tmp_path: Path) -> None:
    defs = whole(build(Watched(**attributes(tmp_path)), tmp_path), tmp_path)
    assert all(list(spec.owners) == ["team:watch"] for spec in defs.resolve_all_asset_specs())
    SEEN.clear()
    assert defs.resolve_job_def("triage").execute_in_process().success
    assert SEEN[:2] == ["before source", "after source"]
    assert len(SEEN) == 2 * 7


def whole(defs: dg.Definitions, folder: Path) -> dg.Definitions:
    landscape = LandscapeResource(url=f"sqlite:///{folder / 'landscape.db'}")
    return dg.Definitions.merge(defs, dg.Definitions(resources={"landscape": landscape}))


class Moved(PipelineComponent):
    """Wants its assets elsewhere."""

    def get_asset_spec(self, node: Node, spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(key=spec.key.with_prefix("elsewhere"))


def test_an_asset_that_would_be_moved_away_from_its_edges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="may not move assets"):
        build(Moved(**attributes(tmp_path)), tmp_path)


@pytest.mark.filterwarnings("ignore:.parse_obj_as:DeprecationWarning")  # Dagster's own
@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")
@pytest.mark.parametrize("name", ["defs.yaml", "defs.yml"])
def test_several_pipelines_in_one_file_keep_their_lines(tmp_path: Path, name: str) -> None:
    documents = [declaration(tmp_path), declaration(tmp_path)]
    documents[1]["attributes"]["name"] = "other"
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(PipelineComponent, defs_yaml_contents=documents[0])
        (path / "defs.yaml").unlink()
        text = "---\n".join(yaml.safe_dump(one, sort_keys=False) for one in documents)
        (path / name).write_text(text)
        with sandbox.build_all_defs() as defs:
            specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
        for pipeline in ("triage", "other"):
            reference = specs[f"{pipeline}/screened"].metadata["dagster/code_references"]
            assert isinstance(reference, dg.CodeReferencesMetadataValue)
            place = reference.code_references[0]  # Dagster adds the component's own behind it
            assert isinstance(place, dg.LocalFileCodeReference)
            assert place.file_path == str(path / name)
            line = place.line_number or 0
            assert text.splitlines()[line - 1].strip() == "screened:"
            assert (line > text.splitlines().index("---")) == (pipeline == "other")
        broken = text.replace("fields:\n      - text", "fields:\n      - texd")
        assert broken != text
        (path / name).write_text(broken)
        with pytest.raises(Exception, match="Error while building") as told, sandbox.build_all_defs():
            pass
    cause: BaseException | None = told.value
    while cause is not None and not isinstance(cause, DeclarationError):
        cause = cause.__cause__ or cause.__context__
    assert f"{name}:" in str(cause)


def test_several_pipelines_in_python_share_one_landscape(tmp_path: Path) -> None:
    declared = [{**attributes(tmp_path), "name": name} for name in ("one", "two")]
    pipelines = [pipeline_from(one, base=tmp_path, root=tmp_path) for one in declared]
    defs = build_definitions(*pipelines)
    assert {"one", "two"} <= {job.name for job in defs.resolve_all_job_defs()}
    with pytest.raises(Exception, match="'one', 'source'"):
        build_definitions(pipelines[0], pipelines[0]).resolve_asset_graph()


def test_several_pipelines_live_in_one_location(tmp_path: Path) -> None:
    first, second = attributes(tmp_path), {**attributes(tmp_path), "name": "other"}
    merged = dg.Definitions.merge(
        *(build(PipelineComponent(**one), tmp_path) for one in (first, second)),
        dg.Definitions(resources={"landscape": LandscapeResource()}),
    )
    names = {job.name for job in merged.resolve_all_job_defs()}
    assert {"triage", "other"} <= names
