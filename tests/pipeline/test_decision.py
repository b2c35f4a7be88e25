"""What is recorded as a node's decision changes when, and only when, the node may decide differently."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.row import JSON
from elspeth_dagster.pipeline import Pipeline, load_pipeline, pipeline_from
from tests.pipeline.conftest import GOOD, Load

_RULES = "LIMIT = 3\n\n\ndef judge(row):\n    return {**row, 'big': row['id'] > LIMIT}\n"


def _decisions(pipeline: Pipeline) -> dict[str, bytes]:
    return {name: canonical_bytes(dict(node.decision)) for name, node in pipeline.nodes.items()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "pool_size: 4",
            "pool_size: 9, max_capacity_retry_seconds: 5, transient_attempts: 2, throttle: fixed",
        ),
        ("    pool: {pool_size: 4}\n", ""),
        ("api_key_env: null", "api_key_env: OTHER_KEY"),
        ("model: m,", "model: m, price: {input: 1.5, output: 2}, timeout_s: 5, connect_timeout_s: 2, "),
        ("model: m,", "model: m, organization: o, project: p,"),
        ("kind: gate\n", "kind: gate\n    description: Sorts.\n    max_error_rate: 0.9\n"),
        ("path: in.csv", "path: in.csv\n  description: Reads.\n  allow_outside: true"),
        ("path: out/urgent.csv", "path: out/urgent.csv, description: Writes., allow_outside: true"),
        ("path: out/urgent.csv", "path: out/other.csv, columns: [id]"),
        ("name: bank", "name: bank\ndescription: Messages.\nschedule: 0 6 * * *\ndagster: {retries: 3}"),
        ("name: bank", "name: bank\nexecution: {executor: multiprocess}"),
        ("minimum: 1, maximum: 5", "maximum: 5, minimum: 1"),
    ],
)
def test_what_is_operational_changes_no_decision(load: Load, old: str, new: str) -> None:
    before = _decisions(load(GOOD))

    assert _decisions(load(GOOD.replace(old, new))) == before


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("How urgent is", "How pressing is", {"judge"}),
        ("maximum: 5", "maximum: 4", {"judge"}),
        ("answer: {urgency", "answer: {mood: str, urgency", {"judge"}),
        ("    pool:", "    temperature: 0.5\n    pool:", {"judge"}),
        ("    pool:", "    system: Be brief.\n    pool:", {"judge"}),
        ("    pool:", "    lookup: {a: {b: 1}}\n    pool:", {"judge"}),
        ("    pool:", "    answer_attempts: 3\n    pool:", {"judge"}),
        ("model: m,", "model: n,", {"judge"}),
        ("127.0.0.1:1/v1", "127.0.0.1:2/v1", {"judge"}),
        ("urgency >= 4", "urgency > 4", {"triage"}),
        ("row.text | length", "row.text | upper | length", {"tidy"}),
        ("amount: float?", "amount: float", {"source"}),
        ("path: in.csv", "path: other.csv", {"source"}),
        ("path: in.csv", "path: in.csv\n  extra_columns: drop", {"source"}),
        ("path: in.csv", "path: in.csv\n  delimiter: ;", {"source"}),
    ],
)
def test_what_can_decide_changes_the_decision_of_its_node_alone(
    load: Load, old: str, new: str, changed: set[str]
) -> None:
    assert GOOD.count(old) == 1
    before = _decisions(load(GOOD))

    after = _decisions(load(GOOD.replace(old, new)))

    assert {name for name in before if before[name] != after[name]} == changed


def test_the_order_of_routes_and_of_what_a_model_is_shown_decides(load: Load) -> None:
    text = GOOD.replace("{urgent: ", "{all: 'true', urgent: ").replace(
        "triage.urgent", "[triage.urgent, triage.all]"
    )
    text = text.replace("answer: {", "lookup: {a: 1, b: 2}\n    answer: {mood: str, ")
    before = _decisions(load(text))

    turned = text.replace(
        "{all: 'true', urgent: \"row.urgency >= 4\"}", "{urgent: \"row.urgency >= 4\", all: 'true'}"
    )
    assert _decisions(load(turned))["triage"] != before["triage"]
    assert _decisions(load(text.replace("{a: 1, b: 2}", "{b: 2, a: 1}")))["judge"] != before["judge"]
    answer = "{mood: str, urgency: {type: int, minimum: 1, maximum: 5}}"
    turned = text.replace(answer, "{urgency: {type: int, minimum: 1, maximum: 5}, mood: str}")
    assert _decisions(load(turned))["judge"] != before["judge"]


def test_a_prompt_counts_by_its_text_wherever_it_stands(load: Load, folder: Path) -> None:
    prompt = "How urgent is this? {{ row.text }}"
    in_file = GOOD.replace(f'prompt: "{prompt}"', "prompt_file: judge.txt")
    (folder / "judge.txt").write_text(prompt, "utf-8")
    inline = _decisions(load(GOOD))

    assert _decisions(load(in_file)) == inline

    (folder / "judge.txt").write_text(f"{prompt}!", "utf-8")
    assert _decisions(load(in_file))["judge"] != inline["judge"]


_PYTHON = """\
name: p
source: {kind: csv, path: in.csv, columns: {id: int}}
steps:
  judge: {kind: python, from: source, call: "rules:judge"}
sinks:
  all: {kind: jsonl, from: judge, path: o.jsonl}
"""


def _judged(load: Load, folder: Path, rules: str, **others: str) -> bytes:
    for name, text in {"rules": rules, **others}.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    return _decisions(load(_PYTHON))["judge"]


def test_a_function_counts_with_all_that_it_names(load: Load, folder: Path) -> None:
    helped = _RULES.replace("row['id'] > LIMIT", "over(row['id'])").replace(
        "def judge", "from helpers import over\n\n\ndef judge"
    )
    helpers = "MOST = 3\n\n\ndef over(number):\n    return number > MOST\n"
    before = _judged(load, folder, helped, helpers=helpers)

    assert _judged(load, folder, _RULES) != before
    assert _judged(load, folder, helped, helpers=helpers.replace("MOST = 3", "MOST = 4")) != before
    assert _judged(load, folder, helped, helpers=helpers.replace("> MOST", ">= MOST")) != before
    assert _judged(load, folder, helped, helpers=helpers) == before

    before = _judged(load, folder, _RULES)
    assert _judged(load, folder, _RULES.replace("LIMIT = 3", "LIMIT = 4")) != before
    assert _judged(load, folder, _RULES.replace("> LIMIT", ">= LIMIT")) != before


def test_what_a_function_does_not_name_changes_nothing(load: Load, folder: Path) -> None:
    before = _judged(load, folder, _RULES)

    assert (
        _judged(load, folder, f"# about\nOTHER = 1\n\n\ndef other(row):\n    return OTHER\n\n\n{_RULES}")
        == before
    )


def test_comments_and_blank_lines_of_a_function_change_nothing(load: Load, folder: Path) -> None:
    rules = (
        "LIMIT = 3\n\n\ndef judge(row):\n    text = '''# no\n\n  comment'''\n"
        "    return {**row, 'big': row['id'] > LIMIT,\n            'text': text}\n"
    )
    before = _judged(load, folder, rules)
    said = rules.replace("LIMIT = 3", "LIMIT = 3  # \u00e9nough").replace(
        "    return", "\n    # then\n\n    return"
    )

    assert _judged(load, folder, said.replace("LIMIT,\n", "LIMIT,  # \f\n\n        # all\n")) == before
    assert _judged(load, folder, said.replace("\n", "\r\n")) == before
    assert _judged(load, folder, rules.replace("# no\n\n", "# no\n")) != before
    assert _judged(load, folder, rules.replace("# no", "# yes")) != before


def test_the_declared_determinism_changes_no_decision_and_is_told(load: Load, folder: Path) -> None:
    before = _judged(load, folder, _RULES)

    pipeline = load(_PYTHON.replace('judge"}', 'judge", determinism: nondeterministic}'))

    assert _decisions(pipeline)["judge"] == before
    assert pipeline.nodes["judge"].config.determinism_of() == "nondeterministic"
    assert pipeline.nodes["source"].config.determinism_of() == "deterministic"
    assert load(GOOD).nodes["judge"].config.determinism_of() == "nondeterministic"


def test_decisions_are_the_same_in_every_process(load: Load, folder: Path) -> None:
    rules = "NAMES = {'a', 'b', 'c'}\n\n\ndef judge(row, names=frozenset(NAMES)):\n    return {**row, 'n': names}\n"
    here = _judged(load, folder, rules)
    script = (
        "import sys\n"
        "from elspeth_dagster.model.canonical import canonical_bytes\n"
        "from elspeth_dagster.pipeline import load_pipeline\n"
        "node = load_pipeline(sys.argv[1]).nodes['judge']\n"
        "sys.stdout.buffer.write(canonical_bytes(dict(node.decision)))\n"
    )

    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", script, str(folder / "p.yaml")],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        )
        assert ran.stdout == here


_texts = st.text(st.characters(codec="utf-8"), max_size=5)
_values: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    lookup=st.dictionaries(_texts, _values, max_size=3),
    temperature=st.floats(0, 2),
    rate=st.floats(0.1, 1),
)
def test_every_decision_has_one_canonical_form(
    lookup: Mapping[str, JSON], temperature: float, rate: float
) -> None:
    attributes: dict[str, JSON] = {
        "name": "p",
        "models": {"default": {"model": "m"}},
        "source": {"kind": "csv", "path": "a.csv", "columns": {"t": "str"}},
        "steps": {
            "ask": {
                "kind": "llm",
                "from": "source",
                "prompt": "{{ row.t }}",
                "lookup": dict(lookup),
                "temperature": temperature,
                "max_error_rate": rate,
            }
        },
        "sinks": {"s": {"kind": "jsonl", "from": "ask", "path": "o.jsonl"}},
    }

    decisions = [_decisions(pipeline_from(attributes, base=Path("/nowhere"))) for _ in range(2)]

    assert decisions[0] == decisions[1]


def test_a_prompts_file_may_begin_with_a_byte_order_mark(load: Load, folder: Path) -> None:
    prompt = "How urgent is this? {{ row.text }}"
    (folder / "judge.txt").write_bytes(b"\xef\xbb\xbf" + prompt.encode())
    (folder / "p.yaml").write_text(GOOD.replace(f'prompt: "{prompt}"', "prompt_file: judge.txt"), "utf-8")

    assert load_pipeline(folder / "p.yaml").nodes["judge"].decision == load(GOOD).nodes["judge"].decision
