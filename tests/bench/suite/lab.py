"""The set-ups in which things are measured: who runs, on which core, and who is loaded."""

import contextlib

from suite import generator
from suite.servers import Failed, nodes, redis_server

#: Servers that stand side by side where one process may not have as many sockets as are wanted.
ABREAST = 3


def alone(kind, load, **settings):
    """One server, which nothing else uses."""
    with kind.start(**settings) as server:
        return generator.measure(load, [server])


def abreast(kind, load):
    """Servers side by side, a generator for each: for more connections than one process may have."""
    with contextlib.ExitStack() as stack:
        these = [stack.enter_context(kind.start()) for _ in range(ABREAST)]
        loads = [stack.enter_context(generator.running(load, [server])) for server in these]
        found = [load.result() for load in loads]
    total = sum(one["connected"] for one in found)
    mean = sum(one["bytes_per_client_after_hold"] * one["connected"] for one in found) / total
    return {"connected": total, "failed": sum(one["failed"] for one in found), "bytes_per_client_after_hold": mean}


def across(kind, load, members_on=1, publish_on=0, count=2):
    """Nodes on one Redis: what each spends where members are on one (or on all), and publishers on another."""
    with redis_server() as redis, nodes(kind, count, redis) as these:
        members = these if members_on is None else [these[members_on]]
        found = generator.measure(load, members, publish_to=[these[publish_on]], watched=[*these, redis])
        return found | shares(found, these, redis)


def shares(found, these, redis):
    """Microseconds of processor time a publish, of each node (A, B, …) and of Redis; and of B a delivery."""
    spent = found["cpu_seconds_by_pid"]
    publishes = found["publishes_per_second"] * found["seconds"]
    if not publishes:
        raise Failed("nothing was published")
    if not found["received"]:
        raise Failed("nothing arrived")
    of = {name: spent[server.pid] * 1e6 / publishes for name, server in zip("abcdefgh", these)}
    kept = {f"{name}_us_a_publish": micros for name, micros in of.items()}
    kept["redis_us_a_publish"] = spent[redis.pid] * 1e6 / publishes
    if len(these) > 1:
        kept["b_us_a_delivery"] = spent[these[1].pid] * 1e6 / (found["deliveries_per_second"] * found["seconds"])
    return kept
