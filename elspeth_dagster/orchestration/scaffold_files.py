"""What a scaffolded pipeline consists of. Code and not data files, so that every way of installing brings them."""

from typing import Final

DECLARATION: Final = """\
# A pipeline: rows come from the source, go through steps, and end in sinks. Each becomes an asset.
# It runs as it is:   elspeth-dagster run defs.yaml   (or materialize it in Dagster)
# and tells all:      elspeth-dagster explain RUN_ID --row 0
type: elspeth_dagster.PipelineComponent

attributes:
  name: PIPELINE_NAME
  description: What this pipeline decides, for whom.

  # models:                              # named here, or Dagster resources of that name
  #   default:
  #     provider: openai                 # openai, azure, openrouter; or any base_url
  #     model: gpt-4o-mini
  #     api_key_env: OPENAI_API_KEY      # the NAME of the variable, never the key
  #     price: { input: 0.15, output: 0.60 }   # US dollars per million tokens

  source:
    kind: csv
    path: data/messages.csv              # relative to this folder
    columns: { id: int, text: str, amount: "float?" }   # ? behind a type: may be missing
    on_invalid: bad_rows                 # rows that do not fit go there, with every reason

  steps:
    screened:
      kind: keyword_filter
      from: source
      fields: [text]
      patterns: [password, "card number"]
      on_error: failures                 # rows that fail go there; without it they are kept as failed

    # judged:
    #   kind: llm                        # many rows at once, in order, never paid for twice
    #   from: screened                   # then let `triage` take its rows from `judged`
    #   prompt: |
    #     How urgent is this message, from 1 to 5? {{ row.text }}
    #   answer: { urgency: { type: int, minimum: 1, maximum: 5 } }
    #   pool: { pool_size: 8 }
    #   on_error: failures

    triage:
      kind: gate                         # the first route that is true wins
      from: screened
      routes:
        urgent: "'fraud' in row.text|lower or (row.amount or 0) > 500"
      otherwise: normal

  sinks:
    urgent: { kind: csv, from: triage.urgent, path: out/urgent.csv }
    normal: { kind: csv, from: triage.normal, path: out/normal.csv }
    failures: { kind: jsonl, path: out/failures.jsonl }
    bad_rows: { kind: jsonl, path: out/bad_rows.jsonl }

  # schedule: "0 6 * * *"
  # dagster: { owners: ["team:support"], checks: { blocking: [balance] } }
"""

MESSAGES: Final = """\
id,text,amount
1,My card was declined and I am angry,120.50
2,Where do I find my statement?,
3,Somebody paid with my card. This is fraud!,640.00
4,Thank you for your help,12.00
"""

SHARED: Final = """\
\"\"\"What every pipeline of this project shares: the Landscape, and the sensor that tends to runs.\"\"\"

from pathlib import Path

import dagster as dg

from elspeth_dagster import LandscapeResource, shared_definitions

PROJECT = Path(__file__).parents[PARENTS_ABOVE]


@dg.definitions
def landscape() -> dg.Definitions:
    \"\"\"ELSPETH_LANDSCAPE_URL says where it is; without that, it is .elspeth/landscape.db in the project.

    It brings an executor, too: a project that has one of its own says shared_definitions(..., executor=None).
    \"\"\"
    return shared_definitions(LandscapeResource(project=str(PROJECT)))
"""
