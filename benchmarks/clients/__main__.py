"""One client at work: reads a job, gets ready, says so, waits for a line, asks, and prints what it took.

    python -m benchmarks.clients < job.json

Imports of a client happen when it is chosen: some live in an environment that has no other.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time

from benchmarks.clients.job import Client, Job, Measured, Prompts


def main() -> None:
    """Do one job."""
    job = Job.read(sys.stdin.readline())
    client = _client(job)
    try:
        if job.warm_up:
            client.ask_all(Prompts(name="warm", requests=job.warm_up, seconds=None))
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(dataclasses.asdict(_measure(job, client))), flush=True)
    finally:
        client.close()


def _measure(job: Job, client: Client) -> Measured:
    prompts = Prompts(name="m", requests=job.requests, seconds=job.seconds)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    answered = client.ask_all(prompts)
    return Measured(
        answered=answered,
        lost=prompts.pulled - answered,
        wall_s=time.perf_counter() - began_s,
        cpu_s=time.process_time() - began_cpu_s,
    )


def _client(job: Job) -> Client:
    if job.client.startswith("sdk"):
        from benchmarks.clients.sdk import sdk_client  # noqa: PLC0415 - see above

        return sdk_client(job)
    if job.client == "langchain":
        from benchmarks.clients.langchain_batch import LangchainBatch  # noqa: PLC0415 - see above

        return LangchainBatch(job)
    from benchmarks.clients.pool import PoolClient  # noqa: PLC0415 - see above

    return PoolClient(job)


if __name__ == "__main__":
    main()
