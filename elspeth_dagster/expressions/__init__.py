"""The language of prompts, gates and conditions: Jinja2's syntax over JSON values, within bounds.

It imports `model` and jinja2's parser only. What a prompt is sent to, and what a decision leads to, is decided above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth_dagster.lazily import loader

if TYPE_CHECKING:
    from elspeth_dagster.expressions.condition import Expression, expression_mistakes
    from elspeth_dagster.expressions.reading import values_read
    from elspeth_dagster.expressions.template import PromptTemplate, Rendered, template_mistakes

__all__ = [
    "Expression",
    "PromptTemplate",
    "Rendered",
    "expression_mistakes",
    "template_mistakes",
    "values_read",
]

__getattr__ = loader(
    __name__,
    {
        "condition": ["Expression", "expression_mistakes"],
        "reading": ["values_read"],
        "template": ["PromptTemplate", "Rendered", "template_mistakes"],
    },
)
