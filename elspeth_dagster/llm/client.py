"""The client that callers hold: one request, one reply or one error of ours.

It sends when it is told to and never again by itself: pacing, retries, budgets and the audit trail are decided
above, each attempt seen. Making a client imports ``openai``; importing this module does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from elspeth_dagster.llm.settings import ModelSettings
from elspeth_dagster.model.row import JSON

if TYPE_CHECKING:
    from elspeth_dagster.llm.connection import Connection

UNREACHABLE_ERROR_TYPES = frozenset(
    {"ConnectionRefusedError", "gaierror", "SSLCertVerificationError", "ClientConnectorCertificateError"}
)
"""The ``error_type`` of a ``TransientError`` that says: nobody there, or nobody to trust. When the retries of a
request all end so, no other request of the node will fare better."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """A response of status 2xx. ``body`` is exactly what the provider sent, whether it can be read or not.

    The one exception: where the provider repeats the key, ``[redacted]`` stands in its place, and ``is_redacted`` says
    so. ``headers`` are lower-case and only those worth keeping.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_redacted: bool = False


class ModelClient:
    """A client for one model, for at most ``pool_size`` requests at a time, in one event loop.

    Close it in the loop that used it: ``await client.aclose()``. ``repr`` shows no key.
    """

    def __init__(self, settings: ModelSettings, *, api_key: str, pool_size: int) -> None:
        if pool_size < 1:
            raise ValueError(f"pool_size is {pool_size}; it must be at least 1")
        from elspeth_dagster.llm.connection import Connection  # noqa: PLC0415 - importing openai takes a second

        self._connection: Connection = Connection(settings, api_key=api_key, pool_size=pool_size)

    async def send(self, body: dict[str, JSON]) -> RawReply:
        """Send one chat-completions request and return what came back.

        A body of status 200 that is no JSON is a reply as well: ``read_reply`` says what is wrong with it.

        Raises:
            CapacityError: 429, 503, 529.
            TransientError: 408, 409, other 5xx, and no (whole) response: refused, reset, timed out, garbled.
            RequestRefusedError: the provider will not answer this request, or the response was too large.
            ModelUnusableError: no request can succeed: key, credit, permission, model, deployment or address.
        """
        return await self._connection.send(body)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connection.aclose()
