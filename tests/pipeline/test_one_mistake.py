"""One mistake in a declaration that is right otherwise is told once, with its line and what was meant."""

from __future__ import annotations

import pytest

from tests.pipeline.conftest import Mistakes


def _only(found: tuple[str, ...]) -> str:
    assert len(found) == 1, found
    return found[0]


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
