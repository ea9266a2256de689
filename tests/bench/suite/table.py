"""The table: each case by every server, one after the other, round by round; and what Roomcast may cost at most.

Processor time of the server is what is judged: on loopback it contains the receiver's TCP input, and it moves far less
than rates and times when something else runs on the machine.
"""

from collections.abc import Callable
from dataclasses import dataclass

from suite import lab
from suite.generator import churn, echo, fanout, idle
from suite.servers import FLOOR, FLOOR_ONE_WRITE, PEERS, ROOMCAST

ALONE = (FLOOR, ROOMCAST, *PEERS)
ON_REDIS = (ROOMCAST, *PEERS)

#: Names of figures that several cases share.
A_DELIVERY = "CPU, µs a delivery"
P99 = "p99, ms"
REORDERED = "out of order, %"


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    name: str
    key: str
    at_most: float


@dataclass(frozen=True)
class Case:
    """What every server has to do, and what is read off then."""

    name: str
    measure: Callable
    figures: tuple
    servers: tuple = ALONE
    #: Where nothing moves, the memory of idle connections, one round says it all.
    rounds_max: int | None = None


def alone(load):
    return lambda kind: lab.alone(kind, load)


def across(load):
    return lambda kind: lab.across(kind, load)


#: Seconds per million is the same as microseconds for one.
CPU = "cpu_seconds_per_million"

CASES = (
    Case(
        "fan-out, 1 room × 1,000, window 4",
        alone(fanout(clients=1_000, window=4)),
        (Figure(A_DELIVERY, CPU, 1.8), Figure(REORDERED, "out_of_order_percent", 0)),
        (FLOOR_ONE_WRITE, *ALONE),
    ),
    Case(
        "fan-out, 1 room × 10,000, window 4",
        alone(fanout(clients=10_000, window=4)),
        (Figure(A_DELIVERY, CPU, 1.8), Figure(REORDERED, "out_of_order_percent", 0)),
    ),
    Case(
        "fan-out, 1 room × 1,000, window 1",
        alone(fanout(clients=1_000, window=1)),
        (Figure(A_DELIVERY, CPU, 5.9),),
    ),
    Case(
        "100 rooms × 100, 10 publishers × window 4",
        alone(fanout(clients=10_000, rooms=100, publishers=10, window=4)),
        (Figure(A_DELIVERY, CPU, 7.5), Figure(P99, "latency_p99_ms", 50)),
    ),
    Case(
        "fixed load, 30 a second × 1,000",
        alone(fanout(clients=1_000, rate=30)),
        (Figure(A_DELIVERY, CPU, 7.5), Figure(P99, "latency_p99_ms", 10)),
    ),
    Case(
        "echo with ack, 100 × 16 in flight",
        alone(echo(clients=100, window=16, payload=64)),
        (Figure("CPU, µs an echo", CPU, 1.2), Figure(P99, "latency_p99_ms", 4)),
    ),
    Case(
        "through Redis, 1,000 on the other node",
        across(fanout(clients=1_000, window=4)),
        (
            Figure("CPU of its node, µs a delivery", "b_us_a_delivery", 2.0),
            Figure("CPU of the publisher's node, µs a publish", "a_us_a_publish", 50),
        ),
        ON_REDIS,
    ),
    Case(
        "through Redis, 10,000 on the other node",
        across(fanout(clients=10_000, window=4)),
        (Figure("CPU of its node, µs a delivery", "b_us_a_delivery", 2.0),),
        ON_REDIS,
    ),
    Case(
        "10,000 idle",
        alone(idle(10_000)),
        (
            Figure("memory, bytes a connection", "bytes_per_client_after_hold", 3_000),
            Figure("CPU, ms a connect", "cpu_seconds_per_thousand", 0.07),
        ),
    ),
    Case(
        "50,000 idle (3 servers × 16,700)",
        lambda kind: lab.abreast(kind, idle(16_700)),
        (Figure("memory, bytes a connection", "bytes_per_client_after_hold", 3_000),),
        rounds_max=1,
    ),
    Case(
        "churn: connect, namespace, close",
        alone(churn()),
        (Figure("CPU, ms a connection", "cpu_seconds_per_thousand", 0.085),),
    ),
)


def measure(keep, rounds):
    """All cases; the servers take turns, and in every round another one is the first."""
    for turn in range(rounds):
        for case in CASES:
            if turn >= (case.rounds_max or rounds):
                continue
            first = turn % len(case.servers)
            for kind in case.servers[first:] + case.servers[:first]:
                keep.run(case.name, turn, {"server": kind.name}, case.measure, kind)
