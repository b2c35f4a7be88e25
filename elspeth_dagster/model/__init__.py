"""Values that every layer speaks in: rows, tokens, ids, outcomes, canonical hashing, the clock."""
