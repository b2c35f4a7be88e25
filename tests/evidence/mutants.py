"""The mutants: for each invariant, the smallest edits of the honest run that it must report."""

from __future__ import annotations

from dataclasses import dataclass

from elspeth_dagster.landscape import schema
from tests.evidence.honest import RUN_ID

ROW = "0123abcd-00000000"


@dataclass(frozen=True)
class Mutant:
    """Statements, the words of the check in `CHECKS` that must report them, and the key that it names."""

    check: str
    key: str
    statements: tuple[str, ...]


def _mutant(check: str, key: str, *statements: str) -> Mutant:
    """``$ROW`` stands for the beginning of a row's id."""
    written = tuple(statement.replace("$ROW", ROW) for statement in statements)
    return Mutant(check, key.replace("$ROW", ROW), written)


def _pool(name: str, value: str, *, row: int = 1) -> str:
    return (
        f"UPDATE node_states SET context_after_json = json_set(context_after_json, '$.pool.{name}', {value}) "  # noqa: S608
        f"WHERE state_id LIKE '$ROW{row}/left@judge%' AND status <> 'interrupted'"
    )


def _event(path: str, value: str) -> str:
    return (
        f"UPDATE coalesce_events SET metadata_json = json_set(metadata_json, '$.{path}', {value}) "  # noqa: S608
        f"WHERE event_id = '$ROW1&joined'"
    )


def _copy_of(table: str, where: str, **changes: str) -> str:
    """A second record like the first, but for these columns."""
    columns = schema.metadata.tables[table].columns.keys()
    cells = ", ".join(changes.get(name, name) for name in columns)
    return f"INSERT INTO {table} SELECT {cells} FROM {table} WHERE {where}"  # noqa: S608


MUTANTS = {
    "an execution that is left open": _mutant(
        "nothing is open", "0123abcd/tidy", "UPDATE node_executions SET status = 'open' WHERE node_id = 'tidy'"
    ),
    "a node whose latest execution failed": _mutant(
        "came to its end", f"{RUN_ID}, tidy", "UPDATE node_executions SET status = 'failed' WHERE node_id = 'tidy'"
    ),
    "an earlier attempt that is open": _mutant(
        "came to its end", f"{RUN_ID}, {RUN_ID}", "UPDATE run_attempts SET status = 'running' WHERE attempt = 1"
    ),
    "an attempt number that is left out": _mutant(
        "attempts are numbered", RUN_ID, "UPDATE run_attempts SET attempt = 3 WHERE attempt = 2"
    ),
    "an execution number that is left out": _mutant(
        "attempts are numbered",
        "judge",
        "UPDATE node_executions SET attempt = 3 WHERE node_id = 'judge' AND attempt = 2",
    ),
    "a visit number that is left out": _mutant(
        "attempts are numbered", "$ROW1/left", "UPDATE node_states SET attempt = 2 WHERE state_id = '$ROW1/left@judge'"
    ),
    "a row index that is left out": _mutant(
        "row indices have no gap", f"{RUN_ID}, source", "UPDATE rows SET row_index = 9 WHERE row_index = 5"
    ),
    "a row without its token": _mutant(
        "every row has its token", "$ROW4", "DELETE FROM tokens WHERE token_id = '$ROW4'"
    ),
    "a token that comes from nowhere": _mutant(
        "every row has one root", "$ROW1/left", "DELETE FROM token_parents WHERE token_id = '$ROW1/left'"
    ),
    "a row's own token that has a parent": _mutant(
        "every row has one root",
        "$ROW4",
        _copy_of("token_parents", "token_id = '$ROW1/left'", token_id="'$ROW4'"),
    ),
    "a token that is its own ancestor": _mutant(
        "its own ancestor",
        "$ROW1/left",
        "UPDATE token_parents SET parent_token_id = '$ROW1/join:joined' WHERE token_id = '$ROW1/left'",
    ),
    "a state of another run's token": _mutant(
        "names is there", "$ROW1/right@tidy", "UPDATE tokens SET run_id = 'another' WHERE token_id = '$ROW1/right'"
    ),
    "an execution without its attempt": _mutant(
        "belongs to an attempt", f"{RUN_ID}, {RUN_ID}", "DELETE FROM run_attempts WHERE attempt = 1"
    ),
    "a token without an end": _mutant(
        "ends exactly once", "$ROW4", "DELETE FROM token_outcomes WHERE token_id = '$ROW4'"
    ),
    "a token with two ends": _mutant(
        "ends exactly once",
        "$ROW4",
        "DROP INDEX uq_token_outcomes_terminal",
        _copy_of("token_outcomes", "token_id = '$ROW4'", outcome_id="'second'", outcome="'completed'"),
    ),
    "a token that goes on after its end": _mutant(
        "went on after its end",
        "$ROW1!forked",
        "UPDATE token_outcomes SET node_id = 'source' WHERE outcome_id = '$ROW1!forked'",
    ),
    "a token that ended where it never was": _mutant(
        "finished where it ended",
        "$ROW4!quarantined",
        "UPDATE token_outcomes SET node_id = 'failures', sink = 'failures' WHERE token_id = '$ROW4'",
    ),
    "a completed row without a sink": _mutant(
        "every end has", "$ROW1/join:joined!routed",
        "UPDATE token_outcomes SET sink = NULL WHERE outcome_id = '$ROW1/join:joined!routed'",
    ),
    "a failed row without a code": _mutant(
        "every end has",
        "$ROW5/right!failed",
        "UPDATE token_outcomes SET error_code = NULL WHERE outcome_id = '$ROW5/right!failed'",
    ),
    "a failed visit without an error": _mutant(
        "every end has",
        "$ROW5/right@joined",
        "UPDATE node_states SET error_json = NULL WHERE state_id = '$ROW5/right@joined'",
    ),
    "a token that was finished twice at a node": _mutant(
        "finished once at each node",
        "$ROW1/right, tidy",
        _copy_of("node_states", "state_id = '$ROW1/right@tidy'", state_id="'again'", attempt="2"),
    ),
    "a visit that vanished": _mutant(
        "what came to each node", "tidy", "DELETE FROM node_states WHERE state_id = '$ROW5/right@tidy'"
    ),
    "a token that took another way": _mutant(
        "way follows the edges",
        "$ROW1/right@joined",
        "UPDATE node_states SET out_port = 'urgent' WHERE state_id = '$ROW1/right@tidy'",
    ),
    "a row that changed between two nodes": _mutant(
        "handed on to it",
        "$ROW1/right@joined",
        "UPDATE node_states SET input_hash = zeroblob(32) WHERE state_id = '$ROW1/right@joined'",
    ),
    "a source row that changed before its first node": _mutant(
        "handed on to it", "$ROW1@split", "UPDATE rows SET data_hash = zeroblob(32) WHERE row_id = '$ROW1'"
    ),
    "a choice that says another port": _mutant(
        "gate's choice",
        "$ROW1/join:joined@triage",
        "UPDATE routing_events SET port = 'normal' WHERE state_id = '$ROW1/join:joined@triage'",
    ),
    "a choice that is not recorded": _mutant(
        "gate's choice",
        "$ROW1/join:joined@triage",
        "DELETE FROM routing_events WHERE state_id = '$ROW1/join:joined@triage'",
    ),
    "a fork that left a branch out": _mutant(
        "every fork", "$ROW5", "DELETE FROM token_parents WHERE token_id = '$ROW5/right'"
    ),
    "a child on a branch that the fork does not have": _mutant(
        "every fork", "$ROW5/left", "UPDATE tokens SET branch = 'middle' WHERE token_id = '$ROW5/left'"
    ),
    "a merged token that lost a parent": _mutant(
        "every merged token", "$ROW1/left", "DELETE FROM token_parents WHERE parent_token_id = '$ROW1/left'"
    ),
    "a merge without a record": _mutant(
        "every merged token", "$ROW1/join:joined", "DELETE FROM coalesce_events WHERE event_id = '$ROW1&joined'"
    ),
    "parents in another order than they arrived": _mutant(
        "every merge is",
        "$ROW1&joined",
        "UPDATE token_parents SET ordinal = 1 - ordinal + 10 WHERE token_id = '$ROW1/join:joined'",
        "UPDATE token_parents SET ordinal = ordinal - 10 WHERE token_id = '$ROW1/join:joined'",
    ),
    "a merge that its policy does not allow": _mutant(
        "every merge is",
        "$ROW1&joined",
        _event("policy", "'first'"),
        "UPDATE coalesce_events SET policy = 'first' WHERE event_id = '$ROW1&joined'",
    ),
    "a policy that differs from its metadata": _mutant(
        "every merge is", "$ROW1&joined", _event("merge_strategy", "'nested'")
    ),
    "a branch that is neither arrived nor lost": _mutant(
        "every merge is", "$ROW1&joined", _event("expected_branches", "json('[\"left\",\"right\",\"third\"]')")
    ),
    "a failed merge without a reason": _mutant(
        "every merge is",
        "$ROW5&joined",
        "UPDATE coalesce_events SET metadata_json = json_remove(metadata_json, '$.reason') "
        "WHERE merged_token_id IS NULL",
    ),
    "a batch that lost a member": _mutant(
        "batches, members and outputs",
        "0123abcd/pairs#0",
        "DELETE FROM batch_members WHERE batch_id = '0123abcd/pairs#0' AND ordinal = 1",
    ),
    "an output with another number": _mutant(
        "batches, members and outputs",
        "0123abcd/pairs#1",
        "UPDATE batch_outputs SET ordinal = 1 WHERE batch_id LIKE '%#1'"
    ),
    "a batch number that is left out": _mutant(
        "batches, members and outputs", "pairs", "UPDATE batches SET batch_index = 2 WHERE batch_index = 1"
    ),
    "a member that ended otherwise": _mutant(
        "every member ended",
        "$ROW3/join:joined",
        "UPDATE token_outcomes SET outcome = 'expanded' WHERE outcome_id = '$ROW3/join:joined!consumed_in_batch'",
    ),
    "a failed batch whose members completed": _mutant(
        "every member ended",
        "$ROW3/join:joined",
        "UPDATE batches SET status = 'failed', output_count = 1 WHERE batch_index = 1",
    ),
    "a token that no batch consumed": _mutant(
        "every member ended",
        "$ROW3/join:joined",
        "UPDATE batch_members SET token_id = '$ROW4' WHERE token_id = '$ROW3/join:joined'",
    ),
    "an output that does not come of all members": _mutant(
        "every output of a batch",
        "0123abcd/pairs#0/0",
        "DELETE FROM token_parents WHERE token_id = '0123abcd/pairs#0/0' AND parent_token_id = '$ROW2/join:joined'",
    ),
    "an output that no batch names": _mutant(
        "every output of a batch", "0123abcd/pairs#1/0", "DELETE FROM batch_outputs WHERE batch_id LIKE '%#1'"
    ),
    "a call without its state": _mutant(
        "every call belongs",
        "$ROW5/left@judge#0",
        "UPDATE calls SET state_id = 'gone' WHERE call_id = '$ROW5/left@judge#0'",
    ),
    "a call number that is left out": _mutant(
        "calls of every row",
        "$ROW5/left@judge",
        "UPDATE calls SET call_index = 1 WHERE call_id = '$ROW5/left@judge#0'",
    ),
    "an answer that was not kept": _mutant(
        "every call says",
        "$ROW1/left@judge#0",
        "UPDATE calls SET response_hash = NULL WHERE call_id = '$ROW1/left@judge#0'",
    ),
    "a reused answer that is another one": _mutant(
        "every call says",
        "$ROW0/left@judge~2#0",
        "UPDATE calls SET reused_from = '$ROW1/left@judge#0' WHERE call_id = '$ROW0/left@judge~2#0'",
    ),
    "a row that was completed without an answer": _mutant(
        "all of its answers", "$ROW3/left@judge", "DELETE FROM calls WHERE state_id = '$ROW3/left@judge'"
    ),
    "an answer that was paid for twice": _mutant(
        "paid for twice",
        "$ROW0/left",
        "UPDATE calls SET reused_from = NULL WHERE call_id = '$ROW0/left@judge~2#0'",
    ),
    "a submit index that is left out": _mutant(
        "pools gave back", "0123abcd/judge~2", _pool("submit_index", "7")
    ),
    "a complete index that comes twice": _mutant(
        "pools gave back", "$ROW2/left@judge~2", _pool("complete_index", "1", row=2), _pool("complete_index", "1")
    ),
    "complete indices that contradict the times": _mutant(
        "pools gave back", "0123abcd/judge~2", _pool("complete_offset_ms", "900.5", row=2)
    ),
    "a pool that was larger than its size": _mutant(
        "no pool was larger",
        "0123abcd/judge~2",
        "UPDATE node_executions SET "
        "pool_stats_json = json_set(pool_stats_json, '$.pool_stats.max_concurrent_reached', 3) "
        "WHERE pool_stats_json IS NOT NULL",
    ),
    "a sink whose file has more rows": _mutant(
        "every sink wrote", "0123abcd/totals=", "UPDATE artifacts SET row_count = 5 WHERE node_id = 'totals'"
    ),
    "a sink that left no file": _mutant(
        "every sink wrote", f"{RUN_ID}, totals", "DELETE FROM artifacts WHERE node_id = 'totals'"
    ),
    "an execution without its seal": _mutant(
        "under one seal", f"{RUN_ID}, 0123abcd/bad", "DELETE FROM seals WHERE execution_id = '0123abcd/bad'"
    ),
    "a number between two seals that is left out": _mutant(
        "seals follow", f"{RUN_ID}, 13", "UPDATE seals SET sequence = 13 WHERE sequence = 12"
    ),
    "another run's salt": _mutant(
        "every salt", "$ROW4", "UPDATE row_salts SET run_id = 'another' WHERE salt_id = '$ROW4'"
    ),
}  # fmt: skip
