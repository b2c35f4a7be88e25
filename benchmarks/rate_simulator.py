"""What the controllers reach against simulated servers, beside what they must: a table in seconds, the same each time.

    python -m benchmarks.rate_simulator [--only NAME ...] [--seeds 3]

Each scenario runs in two worlds: one where a 429 takes as long as an answer, and one where it comes back at once
while accepted requests are still in flight, as real ones do. Of several seeds the worst is shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.clients.aimd_rate import RateAIMD
from benchmarks.rate_engine import WORLDS, World
from benchmarks.rate_scenarios import (
    BACK_S,
    FREE_PER_S,
    SCENARIOS,
    SETTLED_S,
    SHARED_PER_S,
    SHARED_S,
    STAGGERED_S,
    Maker,
    outage,
    run,
    share,
)
from elspeth_dagster.pooling import PoolConfig
from elspeth_dagster.pooling.adaptive import AdaptiveController

MAKERS: dict[str, Maker] = {
    "textbook AIMD": RateAIMD,
    "adaptive": lambda: AdaptiveController(PoolConfig()),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a must is missed by ``adaptive``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*SCENARIOS, "four", "four-late", "outage"]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    seeds = range(1, chosen.seeds + 1)
    print(f"{'':34} {'must':>13}" + "".join(f"{name:>16}" for name in MAKERS))
    missed = 0
    for name in chosen.only:
        for world_name in WORLDS:
            missed += _print_row(name, world_name, seeds)
            sys.stdout.flush()
    print("\nall musts reached" if not missed else f"\n{missed} musts missed")
    return 1 if missed else 0


def _print_row(name: str, world_name: str, seeds: range) -> bool:
    title, must, is_reached, cells = _row(name, list(WORLDS).index(world_name), seeds)
    shown = title if world_name == next(iter(WORLDS)) else ""
    label = f"{shown:34}" if shown else f"{'  ' + world_name:34}"
    print(
        f"{label} {must:>13}" + "".join(f"{cell:>16}" for cell in cells) + ("" if is_reached else "  missed")
    )
    return not is_reached


def _row(name: str, world: int, seeds: range) -> tuple[str, str, bool, list[str]]:
    every_world = list(WORLDS.values())
    if name.startswith("four"):
        joins = STAGGERED_S if name == "four-late" else ()
        title = "4 processes" + (", joining one by one" if joins else " on one 100/s key")
        judged = [_worst_share(make, every_world[world], joins, seeds) for make in MAKERS.values()]
        must = (0.95, 0.90)
        cells = [f"{part:.3f} J {jain:.3f}" for part, jain in judged]
        return title, ">=.95 J >=.90", judged[-1][0] >= must[0] and judged[-1][1] >= must[1], cells
    if name == "outage":
        backs = [_worst_back(make, every_world[world], seeds) for make in MAKERS.values()]
        return "outage, shaky, free", ">=.90 of free", backs[-1] >= 0.9, [f"{back:.3f}" for back in backs]
    scenario = SCENARIOS[name]
    reached = [
        [run(scenario, make, scenario.worlds[world], seed=seed) for seed in seeds] for make in MAKERS.values()
    ]
    worst = [(min(one.efficiency for one in runs), max(one.waste for one in runs)) for runs in reached]
    is_reached = worst[-1][0] >= scenario.efficiency and worst[-1][1] <= scenario.waste
    must_text = f">={scenario.efficiency:.2f} <={scenario.waste:.0%}"
    return scenario.title, must_text, is_reached, [f"{eff:.3f} {waste:.1%}" for eff, waste in worst]


def _worst_share(make: Maker, world: World, joins_s: Sequence[float], seeds: range) -> tuple[float, float]:
    outcomes = [share(make, world, joins_s=joins_s, seed=seed) for seed in seeds]
    possible = SHARED_PER_S * (SHARED_S - SETTLED_S)
    together = [sum(one.accepted_between(SETTLED_S, SHARED_S)) / possible for one in outcomes]
    return min(together), min(one.fairness_between(SETTLED_S, SHARED_S) for one in outcomes)


def _worst_back(make: Maker, world: World, seeds: range) -> float:
    outcomes = [outage(make, world, seed=seed) for seed in seeds]
    return min(one.accepted_between(BACK_S, BACK_S + 10)[0] for one in outcomes) / (FREE_PER_S * 10)


if __name__ == "__main__":
    sys.exit(main())
