"""What a call cost, where that is known."""

from __future__ import annotations

from decimal import Decimal

from elspeth_dagster.llm.settings import Price

_PER_TOKENS = Decimal(1_000_000)


def cost_usd(price: Price | None, prompt_tokens: int | None, completion_tokens: int | None) -> Decimal | None:
    """Return the cost in US dollars, exactly; None when the price or either count is unknown.

    An unknown part makes the whole unknown: a zero in its place would be a made-up number.
    """
    if price is None or prompt_tokens is None or completion_tokens is None:
        return None
    return (prompt_tokens * price.input + completion_tokens * price.output) / _PER_TOKENS
