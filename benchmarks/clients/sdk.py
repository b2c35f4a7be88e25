"""The openai SDK as its users use it: in threads, and with asyncio and a semaphore. Retries are its own two."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
from openai.types.chat import ChatCompletionMessageParam

from benchmarks.clients.job import MODEL, Client, Job

SDK_RETRIES = 2
"""The SDK's default, written out."""


def sdk_client(job: Job) -> Client:
    """``sdk-threads``, ``sdk-asyncio``, or ``sdk-aiohttp``: asyncio over the other transport that the SDK offers."""
    if job.client == "sdk-threads":
        return SdkThreads(job)
    return SdkAsyncio(job, aiohttp=job.client == "sdk-aiohttp")


class SdkThreads:
    """One client, as many threads as requests at once."""

    def __init__(self, job: Job) -> None:
        self._pool_size = job.pool_size
        self._client = openai.OpenAI(base_url=job.base_url, api_key="none", max_retries=SDK_RETRIES)
        self._threads = ThreadPoolExecutor(job.pool_size)

    def ask_all(self, prompts: Iterable[str]) -> int:
        """Every thread asks prompt after prompt."""
        rows = iter(prompts)
        return sum(self._threads.map(lambda _: self._ask_some(rows), range(self._pool_size)))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        self._client.close()

    def _ask_some(self, prompts: Iterator[str]) -> int:
        answered = 0
        for prompt in prompts:
            try:
                said = self._client.chat.completions.create(model=MODEL, messages=_messages(prompt))
            except openai.APIError:
                continue
            answered += said.choices[0].message.content is not None
        return answered


class SdkAsyncio:
    """One client, one loop, a semaphore."""

    def __init__(self, job: Job, *, aiohttp: bool) -> None:
        self._runner = asyncio.Runner()
        self._semaphore = asyncio.Semaphore(job.pool_size)
        self._client = openai.AsyncOpenAI(
            base_url=job.base_url,
            api_key="none",
            max_retries=SDK_RETRIES,
            http_client=openai.DefaultAioHttpClient() if aiohttp else None,
        )

    def ask_all(self, prompts: Iterable[str]) -> int:
        """A task for each prompt."""
        return self._runner.run(self._gather(prompts))

    def close(self) -> None:
        """Close the connections and the loop."""
        self._runner.run(self._client.close())
        self._runner.close()

    async def _gather(self, prompts: Iterable[str]) -> int:
        return sum(await asyncio.gather(*(self._ask(prompt) for prompt in prompts)))

    async def _ask(self, prompt: str) -> bool:
        async with self._semaphore:
            try:
                said = await self._client.chat.completions.create(model=MODEL, messages=_messages(prompt))
            except openai.APIError:
                return False
        return said.choices[0].message.content is not None


def _messages(prompt: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": prompt}]
