"""Why a launch did not come to its end: each node's error as what, where and next, never as a stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elspeth_dagster.cli.settings import Settings, shown_path
from elspeth_dagster.cli.terminal import Terminal, safe
from elspeth_dagster.orchestration.launched import Ended, Launched, StepFailure


@dataclass(frozen=True, slots=True)
class Stopped:
    """One reason. ``node_id`` is None where it was no node's; ``resume`` the command that goes on."""

    node_id: str | None
    code: str | None
    what: str
    where: str | None
    next: str | None
    resume: str | None
    trace: str | None


def stopped_nodes(
    launched: Launched, settings: Settings, *, run_key: str | None, log: Path
) -> tuple[Stopped, ...]:
    """Everything that kept the launch from its end; empty if nothing did."""
    if launched.ended is Ended.SUCCESS:
        return ()
    resume = None if run_key is None else settings.command("resume", run_key)
    if launched.ended is Ended.INTERRUPTED:
        what = "Interrupted. What was decided is recorded; the rest of the rows waits."
        return (Stopped(None, "interrupted", what, None, None, resume, None),)
    found = [_stopped(failure, settings, resume, log) for failure in launched.failures]
    if found:
        return tuple(found)
    what = "Dagster ended the run outside of its nodes."
    return (Stopped(None, None, what, _shown_log(log), "run again with --debug", resume, None),)


def _stopped(failure: StepFailure, settings: Settings, resume: str | None, log: Path) -> Stopped:
    what, where, hint = _parts(failure.text)
    if not failure.is_known:
        hint = "this was not foreseen: resume with --debug for the traceback"
        where = _shown_log(log)
    return Stopped(
        node_id=failure.node_id,
        code=failure.code,
        what=what,
        where=where,
        next=hint,
        resume=resume,
        trace=failure.trace if settings.is_debug else None,
    )


def _parts(text: str) -> tuple[str, str | None, str | None]:
    """What, where and next of an error's own words."""
    what: list[str] = []
    found: dict[str, str] = {}
    for line in text.splitlines():
        label, colon, said = line.strip().partition(":")
        if colon and line.startswith("  ") and label in {"where", "next"}:
            found[label] = said.strip()
        elif not found:
            what.append(line.strip())
    return " ".join(what), found.get("where"), found.get("next")


def _shown_log(log: Path) -> str | None:
    return shown_path(log) if log.is_file() else None


def print_stopped(terminal: Terminal, stopped: tuple[Stopped, ...]) -> None:
    """Say it to a person."""
    for one in stopped:
        terminal.line()
        title = f"{one.node_id} stopped: " if one.node_id else ""
        terminal.wrapped(f"{title}{safe(one.what)}", rest="  ", style="red bold")
        if one.where:
            terminal.wrapped(safe(one.where), first="  where   ")
        if one.next:
            terminal.wrapped(safe(one.next), first="  next    ")
        if one.trace:
            for line in one.trace.splitlines():
                terminal.line(f"  {safe(line)}", "dim")
    resume = next((one.resume for one in stopped if one.resume), None)
    if resume is not None:
        terminal.line(f"  resume  {resume}")
