"""langchain's ``batch``. Runs in an environment of its own, which has langchain and nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]  # only in its own environment

from benchmarks.clients.job import MODEL, Job


class LangchainBatch:
    """``ChatOpenAI.batch`` with ``max_concurrency``; a failed prompt is a value in its result."""

    def __init__(self, job: Job) -> None:
        self._pool_size = job.pool_size
        self._model = ChatOpenAI(model=MODEL, base_url=job.base_url, api_key="none")

    def ask_all(self, prompts: Iterable[str]) -> int:
        """One batch."""
        said = self._model.batch(
            list(prompts), config={"max_concurrency": self._pool_size}, return_exceptions=True
        )
        return sum(not isinstance(one, Exception) for one in said)

    def close(self) -> None:
        """It holds nothing that ends by itself."""
