"""The pool with the model's client: as an llm step uses them, without the audit. Also the pool at others' paces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

from benchmarks.clients.aimd_rate import RateAIMD
from benchmarks.clients.job import MODEL, Job
from benchmarks.clients.oracle import Oracle
from elspeth_dagster.llm import ModelClient, ModelSettings, build_request, read_reply
from elspeth_dagster.model.result import RowResult, Succeeded
from elspeth_dagster.model.row import Row
from elspeth_dagster.pooling import Controller, PoolConfig, PooledExecutor, RowContext, report_headers

THROTTLES = ("adaptive", "aimd", "fixed")


class PoolClient:
    """``job.client`` is a throttle, or names whose pace to keep: ``textbook`` or ``oracle``."""

    def __init__(self, job: Job) -> None:
        is_ours = job.client in THROTTLES
        throttle = cast("Literal['adaptive', 'aimd', 'fixed']", job.client if is_ours else "adaptive")
        config = PoolConfig(pool_size=job.pool_size, throttle=throttle)
        self._settings = ModelSettings(model=MODEL, base_url=job.base_url, api_key_env=None)
        self._pool = PooledExecutor(config, controller=None if is_ours else _other(job))
        self._client = ModelClient(self._settings, api_key="none", pool_size=job.pool_size)
        self._pool.on_close(self._client.aclose)

    def ask_all(self, prompts: Iterable[str]) -> int:
        """Stream the prompts through the pool."""
        rows = (RowContext(prompt, "", index) for index, prompt in enumerate(prompts))
        return sum(isinstance(entry.result, Succeeded) for entry in self._pool.stream(rows, self._ask))

    def close(self) -> None:
        """End the pool's threads."""
        self._pool.close()

    async def _ask(self, prompt: str, _state_id: str) -> RowResult[Row]:
        request = build_request(
            self._settings, system=None, prompt=prompt, answer=None, temperature=None, max_tokens=None
        )
        reply = await self._client.send(request.body)
        report_headers(reply.headers)
        return read_reply(reply.body, None).result


def _other(job: Job) -> Controller:
    if job.client == "textbook":
        return RateAIMD()
    if job.client == "oracle":
        return Oracle(job.rates, burst=job.burst, places=job.places)
    raise ValueError(f"There is no client {job.client!r}.")
