"""Asking a model: settings, requests, the client, and reading what comes back.

The layer that knows providers. It sends one request and says what became of it; when to send, when to try again and
what to record are decided above. Importing it does not import ``openai``, which takes about a second: that happens
when a ``ModelClient`` is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth_dagster.lazily import loader

if TYPE_CHECKING:
    from elspeth_dagster.llm.answer import AnswerSchema
    from elspeth_dagster.llm.answer_field import AnswerField
    from elspeth_dagster.llm.client import UNREACHABLE_ERROR_TYPES, ModelClient, RawReply
    from elspeth_dagster.llm.pricing import cost_usd
    from elspeth_dagster.llm.reply import Reply, read_reply
    from elspeth_dagster.llm.request import Request, build_request
    from elspeth_dagster.llm.settings import ModelSettings, Price, resolve_key

__all__ = [
    "UNREACHABLE_ERROR_TYPES",
    "AnswerField",
    "AnswerSchema",
    "ModelClient",
    "ModelSettings",
    "Price",
    "RawReply",
    "Reply",
    "Request",
    "build_request",
    "cost_usd",
    "read_reply",
    "resolve_key",
]

__getattr__ = loader(
    __name__,
    {
        "answer": ["AnswerSchema"],
        "answer_field": ["AnswerField"],
        "client": ["UNREACHABLE_ERROR_TYPES", "ModelClient", "RawReply"],
        "pricing": ["cost_usd"],
        "reply": ["Reply", "read_reply"],
        "request": ["Request", "build_request"],
        "settings": ["ModelSettings", "Price", "resolve_key"],
    },
)
