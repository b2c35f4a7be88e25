"""Tools for testing pipelines without a model: the fake model server.

It speaks the chat-completion API of OpenAI and Azure, answers deterministically, and fails on request. In a test::

    from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Rule, Fault

    settings = FakeModelSettings(rules=[Rule("poison", Fault.CONTENT_FILTER)])
    with FakeModelServer(settings) as server:
        ...  # point a model's base_url at server.base_url, then look at server.stats()

Measurements use ``fake_model_process``, so that the server has a processor of its own. On the command line it is
``elspeth-dagster fake-model``.
"""

from elspeth_dagster.testing.faults import Fault, Rule
from elspeth_dagster.testing.presets import PRESETS, preset
from elspeth_dagster.testing.process import FakeModelProcess, fake_model_process
from elspeth_dagster.testing.server import FakeModelServer
from elspeth_dagster.testing.settings import FakeModelSettings, RetryAfter
from elspeth_dagster.testing.stats import Stats

__all__ = [
    "PRESETS",
    "FakeModelProcess",
    "FakeModelServer",
    "FakeModelSettings",
    "Fault",
    "RetryAfter",
    "Rule",
    "Stats",
    "fake_model_process",
    "preset",
]
