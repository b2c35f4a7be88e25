"""`python`: the user's function decides, and whatever it does stays its row's affair."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import Decision, Emitted, Home
from elspeth_dagster.nodes.python import Caller, PythonConfig


def _python(call: str = "rules:f", **keys: JSON) -> PythonConfig:
    return PythonConfig.model_validate({"kind": "python", "from": "source", "call": call, **keys})


def _caller(home: Home, call: str = "rules:f") -> Caller:
    compiled = _python(call).compile(home)
    assert isinstance(compiled, Caller)
    return compiled


def _decided(home: Home, body: str, row: Row | None = None) -> Decision:
    (home.base / "rules.py").write_text(f"def f(row):\n    {body}\n", "utf-8")
    return _caller(home).decide({"a": 1} if row is None else row)


def _mistake(home: Home, call: str = "rules:f") -> str:
    (mistake,) = _python(call).mistakes(None, home)
    assert mistake.path == ("call",)
    return mistake.what


def test_a_row_goes_in_and_a_row_comes_out(home: Home) -> None:
    assert _decided(home, "return {**row, 'b': row['a'] + 1}") == Emitted({"a": 1, "b": 2})


def test_what_the_function_raises_is_the_rows_error_with_its_type(home: Home) -> None:
    decision = _decided(home, "raise KeyError('secret of ' + str(row['a']))")

    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.facts) == ("step_raised", {"error_type": "KeyError"})
    assert "secret of 1" in decision.message


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "import sys; sys.exit()", "return f(row)"])
def test_not_even_an_exit_or_endless_recursion_ends_the_run(home: Home, body: str) -> None:
    decision = _decided(home, body)

    assert isinstance(decision, Rejected)
    assert decision.reason == "step_raised"


def test_an_exception_that_cannot_be_shown_is_told_by_its_type(home: Home) -> None:
    decision = _decided(
        home,
        "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
    )

    assert decision == Rejected("step_raised", "Odd", facts={"error_type": "Odd"})


def test_a_long_or_broken_message_can_be_stored(home: Home) -> None:
    decision = _decided(home, "raise ValueError('\\udc00' + 'x' * 100_000)")

    assert isinstance(decision, Rejected)
    assert len(decision.message.encode()) < 3000


@pytest.mark.parametrize(("returned", "kind"), [("None", "NoneType"), ("[row]", "list"), ("'row'", "str")])
def test_what_is_no_row_is_the_rows_error(home: Home, returned: str, kind: str) -> None:
    decision = _decided(home, f"return {returned}")

    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.facts) == ("step_returned_no_row", {"returned": kind})


def test_a_forgotten_return_is_guessed(home: Home) -> None:
    decision = _decided(home, "row['x'] = 1")

    assert isinstance(decision, Rejected)
    assert decision.message == "rules:f returned nothing: does it end with `return row`?"


@pytest.mark.parametrize("value", ["float('nan')", "{1}", "b'x'", "2**60", "'\\udc00'", "float('inf')"])
def test_what_is_no_json_is_refused_with_its_field(home: Home, value: str) -> None:
    decision = _decided(home, f"return {{'a': {{'b': [{value}]}}}}")

    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.facts) == ("not_json", {"field": "a.b[0]"})


def test_dates_decimals_and_numpy_scalars_become_json(home: Home) -> None:
    decision = _decided(
        home,
        "import datetime, decimal, numpy\n"
        "    return {'t': datetime.datetime(2026, 1, 2), 'd': decimal.Decimal('1.50'), 'n': numpy.int64(3)}",
    )

    assert decision == Emitted({"t": "2026-01-02T00:00:00Z", "d": "1.50", "n": 3})


def test_a_function_that_changes_its_input_changes_a_copy(home: Home) -> None:
    row: Row = {"a": 1, "deep": {"list": [1, {"x": 1}]}}

    decision = _decided(
        home, "row['a'] = 2; row['deep']['list'][1]['x'] = 9; row['deep']['list'].append(0); return {}", row
    )

    assert decision == Emitted({})
    assert row == {"a": 1, "deep": {"list": [1, {"x": 1}]}}


def test_two_pipelines_with_modules_of_one_name_do_not_mix(tmp_path: Path) -> None:
    callers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "helpers.py").write_text(f"NAME = {name!r}\n", "utf-8")
        (folder / "rules.py").write_text(
            "import helpers\n\n\n"
            "def f(row):\n    from helpers import NAME\n    return {'a': helpers.NAME, 'b': NAME}\n",
            "utf-8",
        )
        callers.append(_caller(Home(base=folder, root=folder)))

    assert [caller.decide({}) for caller in callers] == [
        Emitted({"a": "one", "b": "one"}),
        Emitted({"a": "two", "b": "two"}),
    ]
    assert {"rules", "helpers"}.isdisjoint(sys.modules)


def test_a_module_that_is_only_imported_when_the_function_runs_is_found(home: Home) -> None:
    (home.base / "late.py").write_text("NAME = 'late'\n", "utf-8")

    assert _decided(home, "import late; return {'a': late.NAME}") == Emitted({"a": "late"})


def test_a_package_and_its_relative_imports_are_found(home: Home) -> None:
    (home.base / "mine" / "deep").mkdir(parents=True)
    (home.base / "mine" / "__init__.py").touch()
    (home.base / "mine" / "deep" / "__init__.py").touch()
    (home.base / "mine" / "base.py").write_text("TEN = 10\n", "utf-8")
    (home.base / "mine" / "deep" / "rules.py").write_text(
        "from ..base import TEN\n\n\ndef f(row):\n    return {'n': TEN}\n", "utf-8"
    )

    assert _caller(home, "mine.deep.rules:f").decide({}) == Emitted({"n": 10})


def test_a_folder_of_modules_needs_no_init_file(home: Home) -> None:
    (home.base / "mine").mkdir()
    (home.base / "mine" / "rules.py").write_text("def f(row):\n    return {'n': 1}\n", "utf-8")

    assert _caller(home, "mine.rules:f").decide({}) == Emitted({"n": 1})


def test_a_folder_of_data_hides_no_module(home: Home) -> None:
    (home.base / "yaml").mkdir()
    (home.base / "yaml" / "data.csv").touch()

    assert _decided(home, "import yaml; return {'n': yaml.safe_load('1')}") == Emitted({"n": 1})


def test_a_module_of_the_folder_does_not_replace_one_that_others_use(home: Home) -> None:
    import yaml  # noqa: PLC0415 - the one that others use

    (home.base / "yaml.py").write_text("mine = True\n", "utf-8")

    assert _decided(home, "import yaml; return {'n': yaml.mine}") == Emitted({"n": True})
    assert sys.modules["yaml"] is yaml


def test_an_edited_module_is_read_again_when_the_pipeline_is_loaded_again(home: Home) -> None:
    for number in (1, 2, 3):
        assert _decided(home, f"return {{'n': {number}}}") == Emitted({"n": number})


def test_what_was_checked_is_what_runs(home: Home) -> None:
    (home.base / "rules.py").write_text("def f(row):\n    return {'n': 1}\n", "utf-8")
    config = _python()
    assert list(config.mistakes(None, home)) == []

    (home.base / "rules.py").write_text("def f(row):\n    return {'n': 2}\n", "utf-8")

    compiled = config.compile(home)
    assert isinstance(compiled, Caller)
    assert compiled.decide({}) == Emitted({"n": 1})


def test_functions_of_installed_modules_can_be_called(home: Home) -> None:
    assert _caller(home, "copy:copy").decide({"a": 1}) == Emitted({"a": 1})
    assert _caller(home, "builtins:dict").decide({"a": 1}) == Emitted({"a": 1})
    assert _python("builtins:dict").decision(home) == _python("builtins:dict").decision(home)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("def g(row):\n    return row\n\n\ndef ff(row):\n    return row\n", "has no function 'f'. Did you mean 'ff'?"),
        ("f = 3\n", "has no function 'f'."),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero (line 1)"),
        ("import sys\nsys.exit(1)\n", "cannot be imported: SystemExit: 1 (line 2)"),
        ("def f(row:\n", "cannot be imported: SyntaxError"),
        ("import nothing_of_this_name\n", "cannot be imported: ModuleNotFoundError"),
        ("async def f(row):\n    return row\n", "is `async`"),
        ("def f():\n    return {}\n", "cannot be called with one row: too many positional arguments"),
        ("def f(row, other):\n    return {}\n", "cannot be called with one row: missing a required argument: 'other'"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_used_is_a_mistake(home: Home, source: str, what: str) -> None:
    (home.base / "rules.py").write_text(source, "utf-8")

    assert what in _mistake(home)
    assert "rules" not in sys.modules


def test_a_module_that_is_not_there_is_a_mistake(home: Home) -> None:
    (home.base / "rules.py").touch()

    assert _mistake(home, "rulez:f") == "There is no module 'rulez'. Did you mean 'rules'?"


def test_a_module_with_the_name_of_a_standard_one_is_a_mistake(home: Home) -> None:
    (home.base / "statistics.py").write_text("def f(row):\n    return row\n", "utf-8")

    assert "standard library has a module 'statistics'" in _mistake(home, "statistics:f")


def test_the_declared_columns_leave_it_and_others_are_unknown() -> None:
    assert _python(columns=["a", "b", "a"]).columns_out(("x",)) == ("a", "b")
    assert _python().columns_out(("x",)) is None
