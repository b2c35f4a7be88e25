"""Whoever reads, exports, migrates or purges while a run writes disturbs nothing, and sees no finding."""

from __future__ import annotations

import json

from tests.scenarios.conftest import findings
from tests.support import Project

RULES = """
import contextlib, io, json
from pathlib import Path
from elspeth_dagster.cli.main import main

FOLDER = Path(__file__).parent

def meddle(row):
    if row["id"] == 30:
        landscape = (FOLDER / "url").read_text()
        said = {}
        for words in json.loads((FOLDER / "words.json").read_text()):
            words = [word.replace("THIS", said.get("this", "")) for word in words]
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main([*words, "--landscape", landscape])
            name = " ".join(words).replace(said.get("this", "THIS"), "THIS")
            said[name] = [status, out.getvalue() + err.getvalue()]
            if words[0] == "runs":
                said["this"] = json.loads(out.getvalue())["runs"][0]["run"]["run_key"]
        (FOLDER / "said.json").write_text(json.dumps(said))
    return row
"""


def test_every_command_may_come_in_the_middle_of_a_run(project: Project) -> None:
    folder = project.folder
    (folder / "rules.py").write_text(RULES)
    (folder / "url").write_text(project.landscape_url)
    (folder / "words.json").write_text("[]")
    declaration = {
        "name": "meddled",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {"meddle": {"kind": "python", "from": "source", "call": "rules:meddle"}},
        "sinks": {"out": {"kind": "csv", "from": "meddle", "path": "out.csv"}},
    }
    project.declare(declaration)
    first = project.run()
    assert first.success
    # In the middle of the second run, which is the latest.
    words = [
        ["runs", "--json"],
        ["db", "upgrade"],
        ["db", "check"],
        ["show", "THIS"],
        ["verify", "THIS"],
        ["export", "THIS", "--out", str(folder / "exported THIS")],
        ["verify", first.run_id],
        ["export", first.run_id, "--out", str(folder / "exported")],
        ["purge", "--older-than", "1h", "--yes", "--json"],
    ]
    (folder / "words.json").write_text(json.dumps(words))

    assert project.run().success

    said = json.loads((folder / "said.json").read_text())
    del said["this"]
    assert "The run is running, not finished" in " ".join(said["verify THIS"][1].split())
    assert {name: status for name, (status, _) in said.items()} == {" ".join(one): 0 for one in words}, said
    runs = json.loads(said["runs --json"][1])["runs"]
    assert [one["status"] for one in runs] == ["running", "completed"]
    assert json.loads(said["purge --older-than 1h --yes --json"][1])["bodies"] == 0
    assert findings(project) == []
    assert [row["id"] for row in project.csv("out.csv")] == [str(index) for index in range(60)]
