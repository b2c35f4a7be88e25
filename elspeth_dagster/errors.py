"""The error tree. Every error says what happened, where, and what to do next, and has a stable code.

::

    ElspethError
    +-- DeclarationError        a pipeline's declaration has mistakes (all of them at once)
    +-- LaunchError             the declaration is right, but the run cannot start
    |   +-- MissingSecretError  an environment variable that a model or database needs is not set
    |   +-- AlreadyRunningError another live run holds this pipeline and partition
    |   +-- ConfigChangedError  a resumed run's declaration decides differently than before
    +-- NotJSONError            a value that canonical JSON cannot hold, with its field
    +-- ExpressionError         a template or an expression that is wrong, or failed on a row
    +-- SourceError             a source that cannot be read at all
    +-- SinkError               a sink that cannot be written
    +-- LandscapeError          the audit database
    |   +-- LandscapeUnavailableError  it cannot be opened, reached or written
    |   +-- SchemaVersionError         it is of another version, or not a Landscape
    |   +-- AuditConflictError         the same id was recorded with another content
    |   +-- FenceLostError             another execution has taken this node over
    +-- ExportError             a run cannot be exported to where it should go
    +-- ModelCallError          one request to a model that gave no answer
    |   +-- CapacityError       429, 503, 529: slow down and try again
    |   +-- TransientError      408, 409, 500, 502, 504, reset, time-out: try again, a few times
    |   +-- RequestRefusedError the provider will not answer this request (one row's error)
    |   +-- ModelUnusableError  no request of this node can succeed (401, 403, unknown model)
    +-- NodeStoppedError        a node stopped before it was done; the rest waits for a resume
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class ElspethError(Exception):
    """Base of all errors of this package.

    ``what`` is one line; ``where`` names the file, field, node or row; ``hint`` says what to do next.
    """

    code: ClassVar[str] = "elspeth_error"

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  next:  {self.hint}")
        return "\n".join(lines)


class DeclarationError(ElspethError):
    """A declaration with mistakes. ``mistakes`` holds each as one ``where: what`` line."""

    code = "declaration_invalid"

    def __init__(self, what: str, *, mistakes: Sequence[str], where: str | None = None) -> None:
        super().__init__(what, where=where, hint="mend the places named above and validate again")
        self.mistakes = tuple(mistakes)

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {mistake}" for mistake in self.mistakes)])


class DeclarationWarning(UserWarning):
    """What a declaration may say, and its author hardly meant."""


class LaunchError(ElspethError):
    """The declaration is right, but the run cannot start."""

    code = "launch_refused"


class MissingSecretError(LaunchError):
    """An environment variable that a model or a database needs is not set."""

    code = "missing_secret"


class AlreadyRunningError(LaunchError):
    """Another live run holds this pipeline and partition."""

    code = "already_running"


class ConfigChangedError(LaunchError):
    """A resumed run's declaration would decide differently than the run did before."""

    code = "config_changed"


class NotJSONError(ElspethError):
    """A value that canonical JSON cannot hold. ``field`` is its path in the row."""

    code = "not_json"

    def __init__(self, what: str, *, field: str) -> None:
        super().__init__(what, where=f"field {field!r}" if field else None)
        self.field = field


class ExpressionError(ElspethError):
    """A template or expression that is wrong, or failed on a row."""

    code = "expression_error"


class SourceError(ElspethError):
    """A source that cannot be read at all."""

    code = "source_unreadable"


class SinkError(ElspethError):
    """A sink that cannot be written."""

    code = "sink_unwritable"


class LandscapeError(ElspethError):
    """The audit database refused, or cannot be used."""

    code = "landscape_error"


class LandscapeUnavailableError(LandscapeError):
    """The audit database cannot be opened, reached or written."""

    code = "landscape_unavailable"


class SchemaVersionError(LandscapeError):
    """The database is of another version, or no Landscape at all."""

    code = "landscape_schema"


class AuditConflictError(LandscapeError):
    """The same id was recorded before, with another content."""

    code = "audit_conflict"


class FenceLostError(LandscapeError):
    """Another execution has taken this node over: this one must not write any more."""

    code = "fence_lost"


class ExportError(ElspethError):
    """A run cannot be exported to where it should go, or in that format."""

    code = "export_refused"


class ModelCallError(ElspethError):
    """One request to a model that gave no answer.

    ``status_code`` is the HTTP status, None where there was no response. ``headers`` are the response's,
    lower-case. ``error_type`` is the class name of the innermost cause.
    """

    code = "model_call_failed"

    def __init__(
        self,
        what: str,
        *,
        status_code: int | None = None,
        error_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status_code = status_code
        self.error_type = error_type or type(self).__name__
        self.headers: Mapping[str, str] = headers or {}


class CapacityError(ModelCallError):
    """The provider has no capacity now (429, 503, 529): slow down and try again."""

    code = "capacity"


class TransientError(ModelCallError):
    """A failure that a later try may not meet (408, 409, 500, 502, 504, reset, time-out)."""

    code = "transient"


class RequestRefusedError(ModelCallError):
    """The provider will not answer this one request: the row's error."""

    code = "request_refused"


class ModelUnusableError(ModelCallError):
    """No request of this node can succeed (401, 403, unknown model): the node stops."""

    code = "model_unusable"


class NodeStoppedError(ElspethError):
    """A node stopped before it was done; the untouched rows wait for a resume."""

    code = "node_stopped"

    def __init__(self, what: str, *, code: str, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = code
