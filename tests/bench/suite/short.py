"""The short version, for every change: the gateway beside the floor, in less than a minute.

Proves that the load generator and the gateway still work together, and catches what makes the gateway twice as dear.
Times on a machine that does other things are worth nothing, processor time little: only its ratio to the floor's,
measured in turns, is looked at, and against generous bounds. Never a source of figures: those are in RESULTS.md.
"""

import math
from dataclasses import dataclass

from suite import lab, programs
from suite.generator import Load, echo, fanout, idle
from suite.measured import Findings
from suite.servers import FLOOR, ROOMCAST

ROUNDS = 2

TIMES = {"time": "1500ms", "warmup": "500ms"}


@dataclass(frozen=True)
class Check:
    """What is measured, and how many times the floor's each figure of it may be."""

    name: str
    load: Load
    ratios_max: dict


#: Bounds are twice what the full run found (RESULTS.md), rounded up: no noise that was ever seen here comes near, and
#: what a change makes worse by less is for the full run to find.
CHECKS = (
    Check("fan-out", fanout(clients=1_000, window=4, **TIMES), {"cpu_seconds_per_million": 2.4}),
    Check("echo", echo(clients=100, window=16, payload=64, **TIMES), {"cpu_seconds_per_million": 4.0}),
    Check(
        "connect and stay",
        idle(3_000, hold="500ms"),
        {"cpu_seconds_per_thousand": 2.7, "bytes_per_client_after_hold": 5.0},
    ),
)

#: What must not happen at all.
FAULTS = ("lost", "out_of_order", "stalled_messages", "failed", "closed")


def run():
    """Measures, prints, and says whether all is well."""
    programs.build_floor()
    faults = [fault for check in CHECKS for fault in faults_of(check)]
    for fault in faults:
        print(f"FAILED: {fault}")
    print(f"{len(CHECKS)} loads beside the floor, {len(faults)} out of bounds")
    return not faults


def faults_of(check):
    """Measures by both in turns, and yields what is wrong."""
    runs = []
    for turn in range(ROUNDS):
        kinds = (FLOOR, ROOMCAST) if turn % 2 == 0 else (ROOMCAST, FLOOR)
        runs += [{"server": kind.name, **lab.alone(kind, check.load)} for kind in kinds]
    found = Findings(runs)
    for name in FAULTS:
        if count := sum(found.all(name)):
            yield f"{check.name}: {name} {count}"
    for key, ratio_max in check.ratios_max.items():
        floor, ours = (min(found.where(server=kind.name).all(key)) for kind in (FLOOR, ROOMCAST))  # noise only adds
        ratio = ours / floor if floor else math.inf
        print(f"{check.name}: {key} {ours:.3g}, floor {floor:.3g}, ratio {ratio:.2f}", flush=True)
        if ratio > ratio_max:
            yield f"{check.name}: {key} is {ratio:.2f} times the floor's, and may be {ratio_max} times"
