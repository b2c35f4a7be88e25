"""Who launched a run: a run queue that keeps the name with which a proxy in front of Dagster's UI vouches for its user.

In ``dagster.yaml``::

    run_coordinator:
      module: elspeth_dagster.orchestration.attribution
      class: AttributingRunCoordinator
      config:
        user_header: X-Forwarded-User

Trust the header only where nobody can reach the UI past the proxy.
"""

from typing import Any, Final, Self

from dagster import DagsterRun, Field
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._serdes import ConfigurableClassData

USER_TAG: Final = "user"
USER_CHARS_MAX: Final = 200
DEFAULT_HEADER: Final = "X-Forwarded-User"


class AttributingRunCoordinator(QueuedRunCoordinator):
    """Dagster's own queue; a run that comes in with the header gets the tag ``user``, whatever it said itself."""

    def __init__(
        self,
        user_header: str = DEFAULT_HEADER,
        inst_data: ConfigurableClassData | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(inst_data=inst_data, **settings)
        self._user_header = user_header

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The queue's own settings, and ``user_header``."""

        header = Field(
            str, default_value=DEFAULT_HEADER, is_required=False, description="The proxy's header."
        )
        own = super().config_type()
        assert isinstance(own, dict)  # noqa: S101 - the queue's form is one
        return {**own, "user_header": header}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """As Dagster makes it from its file."""
        return cls(inst_data=inst_data, **config_value)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue a run, with its user's name on it."""
        user = context.get_request_header(self._user_header)
        if user:
            self._instance.add_run_tags(context.dagster_run.run_id, {USER_TAG: user[:USER_CHARS_MAX]})
        return super().submit_run(context)
