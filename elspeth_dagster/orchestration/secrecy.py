"""Which secrets a pipeline's process knows, and how an error leaves it without them."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from elspeth_dagster.landscape.url import url_secrets
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.row import JSON
from elspeth_dagster.pipeline import Pipeline

VARIABLE_SUFFIX = "_env"
"""Keys of a declaration that name a variable of the environment, whose value is a secret."""


def redactor_for(
    pipeline: Pipeline, *, landscape_url: str, environ: Mapping[str, str], keys: Iterable[str] = ()
) -> Redactor:
    """A redactor of everything secret that this process may come across. ``keys`` are known otherwise."""
    names = {*_variables(dict(pipeline.spec)), *_model_variables(pipeline)}
    values = [environ.get(name, "").strip() for name in names]
    in_urls = [secret for url in (landscape_url, *values) for secret in url_secrets(url)]
    return Redactor([*keys, *values, *in_urls, *_proxy_passwords(environ)])


def is_told(error: BaseException, redactor: Redactor) -> bool:
    """Whether the error, or anything that it came from, tells a secret."""
    return redactor.finds("".join(traceback.format_exception(error)))


def _model_variables(pipeline: Pipeline) -> Iterator[str]:
    """Those that are not written out, since they are a provider's usual ones."""
    return (model.api_key_env for model in pipeline.head.models.values() if model.api_key_env is not None)


def _proxy_passwords(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if name.lower().endswith("_proxy") and "@" in value:
            user_info = value.rpartition("@")[0].rpartition("/")[2]
            yield unquote(user_info.partition(":")[2])


def _variables(value: JSON) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith(VARIABLE_SUFFIX) and isinstance(inner, str):
                yield inner
            else:
                yield from _variables(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _variables(inner)
