"""The short version, for every change: the gateway beside the floor, in less than a minute.

Proves that the load generator and the gateway still work together, and catches what makes the gateway twice as dear.
Times on a machine that does other things are worth nothing, processor time little: only its ratio to the floor's,
measured in turns, is looked at, and against generous bounds. Never a source of figures: those are in RESULTS.md.
"""

import sys
from dataclasses import dataclass

from suite import lab, programs
from suite.generator import Load, echo, fanout, idle
from suite.measured import Findings
from suite.servers import FLOOR, ROOMCAST

ROUNDS = 2

TIMES = {"time": "1500ms", "warmup": "500ms"}


@dataclass(frozen=True)
class Check:
    """What is measured, which figure of it, and how many times the floor's it may be."""

    name: str
    load: Load
    key: str
    ratio_max: float


#: Bounds are twice what the full run found (RESULTS.md), rounded up: no noise that was ever seen here comes near, and
#: what a change makes worse by less is for the full run to find.
CHECKS = (
    Check("fan-out", fanout(clients=1_000, window=4, **TIMES), "cpu_seconds_per_million", 2.4),
    Check("echo", echo(clients=100, window=16, payload=64, **TIMES), "cpu_seconds_per_million", 4.0),
    Check("connect", idle(3_000, hold="500ms"), "cpu_seconds_per_thousand", 4.0),
    Check("idle", idle(3_000, hold="500ms"), "bytes_per_client_after_hold", 5.0),
)


def run():
    """Measures, prints, and says whether all is well."""
    programs.build_floor()
    verdicts = [passes(check) for check in CHECKS]
    print(f"{sum(verdicts)} of {len(CHECKS)} checks within their bounds")
    return all(verdicts)


def passes(check):
    runs = []
    for turn in range(ROUNDS):
        kinds = (FLOOR, ROOMCAST) if turn % 2 == 0 else (ROOMCAST, FLOOR)
        runs += [{"server": kind.name, **lab.alone(kind, check.load)} for kind in kinds]
    found = Findings(runs)
    floor, ours = (found.median(check.key, server=kind.name) for kind in (FLOOR, ROOMCAST))
    ratio = ours / max(floor, sys.float_info.min)
    faults = [
        f"{name} {count}"
        for name in ("lost", "out_of_order", "stalled_messages", "failed", "closed")
        if (count := sum(found.all(name)))
    ]
    if ratio > check.ratio_max:
        faults.append(f"more than {check.ratio_max} times the floor")
    print(
        f"{check.name}: {ours:.3g}, floor {floor:.3g}, ratio {ratio:.2f} (at most {check.ratio_max})"
        + "".join(f"; {fault}" for fault in faults),
        flush=True,
    )
    return not faults
