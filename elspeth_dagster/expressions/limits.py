"""The bounds of the language, and the meter that holds one evaluation to them.

Work is counted in steps: about one visited node of the syntax tree, or `CHARS_PER_STEP` characters of text made or
searched. A count does not depend on how busy the machine is, so a row that passes passes everywhere; the clock is only
a second line. Since text costs steps, the steps bound memory too (at most 32 million characters made by one render).
"""

from __future__ import annotations

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.model.clock import Clock, SystemClock

SYSTEM_CLOCK = SystemClock()
"""The clock of every evaluation that is not given another; it has no state."""

TEMPLATE_CHARS_MAX = 256 * 1024
"""A longer prompt is data pasted into a template; it belongs in a field or a lookup."""

EXPRESSION_CHARS_MAX = 8 * 1024
"""A condition that people can still review."""

NODES_MAX = 10_000
"""Nodes of one syntax tree: what runs without any loop is bounded by it."""

DEPTH_MAX = 100
"""Levels of one syntax tree; each takes about two Python frames of the thousand that Python allows."""

BRACKETS_MAX = 30
"""Open brackets at once: jinja2's parser takes about thirteen frames for each."""

RANGE_MAX = 10_000
"""Numbers in one `range`."""

TEXT_CHARS_MAX = 4 * 1024 * 1024
"""One text or one rendered prompt: about a million tokens, more than a model reads."""

SHOWN_WIDTH_MAX = 100
"""The deepest `indent` of a text."""

STEPS_MAX = 1_000_000
"""Work of one evaluation: under a second, and a hundred times what a prompt with a long table needs."""

CHARS_PER_STEP = 32
"""Upper-casing so many characters takes about as long as visiting one node."""

SECONDS_MAX = 10.0
"""Far above what `STEPS_MAX` steps take; it catches a step that is dearer than it was counted."""

STEPS_BETWEEN_LOOKS = 10_000
"""Steps (some milliseconds) between two looks at the clock."""


class Meter:
    """Counts the work of one evaluation and ends it with an `ExpressionError` when a bound is passed."""

    __slots__ = ("_clock", "_deadline", "_next_look", "_steps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = 0
        self._next_look = STEPS_BETWEEN_LOOKS
        self._deadline: float | None = None

    def spend(self, steps: int) -> None:
        """Count ``steps`` of work, before or just after they are done."""
        self._steps += steps
        if self._steps >= self._next_look:
            self._look()

    def spend_text(self, chars: int) -> None:
        """Count a text of ``chars`` characters, and refuse one that is too long."""
        if chars > TEXT_CHARS_MAX:
            raise ExpressionError(f"A text of {chars:,} characters is too long; at most {TEXT_CHARS_MAX:,}.")
        self.spend(1 + chars // CHARS_PER_STEP)

    def _look(self) -> None:
        if self._steps > STEPS_MAX:
            raise ExpressionError(
                f"This takes more than {STEPS_MAX:,} steps.",
                hint="loop over less, or prepare the text in a step before",
            )
        now = self._clock.monotonic()
        if self._deadline is None:
            # Only work that proves long is timed, so that a short condition never pays for reading the clock.
            self._deadline = now + SECONDS_MAX
        if now > self._deadline:
            raise ExpressionError(f"This takes longer than {SECONDS_MAX:g} seconds.")
        self._next_look = self._steps + STEPS_BETWEEN_LOOKS
