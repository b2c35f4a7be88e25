"""`dagster: {pools: ...}` names models that steps call: any other would limit nothing."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.pipeline.parts import Parts
from elspeth_dagster.pipeline.spec import Head


def pool_mistakes(head: Head, parts: Parts) -> Iterator[Mistake]:
    """Pools of models that no step calls; silent while a step cannot be read."""
    configs = [part.config for part in parts.steps.values()]
    called = {llm.model for config in configs if config is not None and (llm := asking(config)) is not None}
    if None in configs:
        return
    for model in head.dagster.pools:
        if model not in called:
            known = ", ".join(sorted(called)) or "none"
            near = suggest(model, sorted(called))
            what = f"No step calls a model {model[:60]!r}.{near} Models that are called: {known}."
            yield Mistake(("dagster", "pools", model), what)
