"""Take over answers to identical requests of earlier runs, for a step that says `reuse`; leave ours to later ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from elspeth_dagster.landscape.earlier import EarlierAnswer
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.reuse import answered_before, fingerprint, fingerprint_key
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.llm_question import Asked
from elspeth_dagster.runtime.llm_rows import QueryWork, RowWork
from elspeth_dagster.runtime.recording import payload
from elspeth_dagster.runtime.work import Work


def echoed_id(token: Token, run_key: str) -> str:
    """The id that a model is to repeat: the token's without its run, so that the same row asks the same in each run."""
    return token.token_id.removeprefix(run_key).lstrip("-/")


class Reuse:
    """What `reuse` means for one execution; without it, nothing is looked up and nothing is left."""

    def __init__(self, work: Work, settings: ModelSettings, *, is_on: bool) -> None:
        self._work = work
        self._address = f"{settings.address}|{settings.azure_deployment}"
        self._key = fingerprint_key(work.database) if is_on else None

    def remember(self, unit: Unit, call_id: str, body: bytes) -> None:
        """Leave the fingerprint of a request beside its intent."""
        if self._key is not None:
            key = fingerprint(self._key, address=self._address, body=body)
            unit.insert("request_keys", (key, call_id, self._work.handle.run_id))

    def answers(self, asked: Mapping[QueryWork, Asked]) -> dict[QueryWork, EarlierAnswer]:
        """The answers of earlier runs to these requests, where there are any."""
        if self._key is None or not asked:
            return {}
        keys = {
            one: fingerprint(self._key, address=self._address, body=canonical_bytes(dict(request.body)))
            for one, request in asked.items()
        }
        found = answered_before(
            self._work.database, list(dict.fromkeys(keys.values())), run_id=self._work.handle.run_id
        )
        return {one: found[key] for one, key in keys.items() if key in found}

    def under_own_salt(self, row: RowWork, one: QueryWork, answer: EarlierAnswer) -> EarlierAnswer:
        """The answer as this row keeps it: its own bodies, hashed with its own salt, so that its run stands alone."""
        assert answer.body is not None  # noqa: S101 - only answers with a body are found
        assert one.asked is not None  # noqa: S101 - it was looked up by its request
        token, unit = row.token, row.pending
        return replace(
            answer,
            query=one.query.name,
            try_no=1,
            request_hash=payload(unit, token.salt_id, token.salt, canonical_bytes(dict(one.asked.body))),
            response_hash=payload(unit, token.salt_id, token.salt, answer.body),
            template_hash=one.asked.template_hash,
            variables_hash=content_hash(token.salt, canonical_bytes(one.asked.variables)),
        )
