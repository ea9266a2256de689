"""What it costs that there are several nodes: messages between them, subscriptions, and nodes that die."""

import time

from suite import lab
from suite.experiment import Axis, Bars, Lines, amount, experiment
from suite.generator import fanout, running
from suite.servers import PEERS, ROOMCAST, nodes, redis_server, until

ON_REDIS = (ROOMCAST, *PEERS)

#: Where all do the same, however fast they could: publishes a second.
RATE = 1_000

A_NODE = Axis("a_us_a_publish", "CPU of the publisher's node, µs a publish")
B_NODE = Axis("b_us_a_publish", "CPU of the other node, µs a publish")
OF_REDIS = Axis("redis_us_a_publish", "CPU of Redis, µs a publish")


@experiment("A message from node to node", Bars("server", (A_NODE, B_NODE, OF_REDIS)))
def messages():
    """A publisher on one node, ten members on the other: 1,000 messages a second, so that all that is spent is for the
    message itself.
    """
    for kind in ON_REDIS:
        yield {"server": kind.name}, lab.across(kind, fanout(clients=10, rate=RATE))


@messages.reads
def _(found):
    ours = found.where(server=ROOMCAST.name)
    a, b, redis = (amount(ours.median(axis.key)) for axis in (A_NODE, B_NODE, OF_REDIS))
    return f"A message costs Roomcast {a} µs on the node where it is published and {b} µs on the other, and Redis {redis} µs."


@experiment("Rooms without members on a node", Bars("server", (A_NODE, B_NODE)))
def elsewhere():
    """Publisher and ten members on one node, 1,000 messages a second; the other node has nobody in that room."""
    for kind in ON_REDIS:
        yield {"server": kind.name}, lab.across(kind, fanout(clients=10, rate=RATE), members_on=0)


@elsewhere.reads
def _(found):
    costs = {
        name: amount(found.median(B_NODE.key, server=name))
        for name in found.each("server")
        if found.where(server=name).has(B_NODE.key)
    }
    others = ", ".join(f"{name} {cost}" for name, cost in costs.items() if name != ROOMCAST.name)
    return (
        f"A message for somebody else costs a Roomcast node {costs[ROOMCAST.name]} µs: it does not get it. "
        f"The others ({others} µs) get every message."
    )


@experiment(
    "Nodes",
    Lines(Axis("nodes", "nodes"), (Axis("all_us_a_publish", "CPU of all nodes, µs a publish"), OF_REDIS), by="members"),
)
def fleet():
    """1,000 messages a second to a room of twelve: spread over all nodes, or all of them on the node where it is
    published.
    """
    for count in (1, 2, 3, 4):
        for where, members_on in (("on all nodes", None), ("on one node", 0)):
            found = lab.across(ROOMCAST, fanout(clients=12, rate=RATE), members_on=members_on, count=count)
            spent = sum(found[f"{name}_us_a_publish"] for name in "abcd"[:count])
            yield {"nodes": count, "members": where}, found | {"all_us_a_publish": spent}


@fleet.reads
def _(found):
    counts = found.each("nodes")
    everywhere, one = (
        found.where(members=where).medians("all_us_a_publish", by="nodes") for where in found.each("members")
    )
    return (
        f"A publish to twelve members costs a single node {amount(everywhere[0])} µs, {counts[-1]} nodes that share them "
        f"{amount(everywhere[-1])} µs in all, and {counts[-1]} nodes of which one has them all {amount(one[-1])} µs."
    )


@experiment(
    "100,000 subscriptions",
    Bars(
        "moment",
        (
            Axis("seconds", "seconds"),
            Axis("node_us", "CPU of the node, µs each"),
            Axis("redis_us", "CPU of Redis, µs each"),
        ),
    ),
)
def subscriptions():
    """2,000 clients join 50 rooms each, all different, so that the node subscribes to 100,000 channels; then all leave
    at once.
    """
    count = 100_000
    with redis_server() as redis, nodes(ROOMCAST, 1, redis) as (node,):
        before = redis.channels()
        with running(fanout(clients=2_000, rooms=count, rooms_per_client=50, rate=1), [node]) as generator:
            until("the first subscription", lambda: redis.channels() > before)
            yield {"moment": "subscribed"}, storm(count, node, redis, lambda: redis.channels() >= before + count)
            generator.result()
        yield {"moment": "unsubscribed"}, storm(count, node, redis, lambda: redis.channels() <= before)


def storm(count, node, redis, fact):
    """How long it takes until something is so, and what both spend on it for each of so many."""
    spent = [process.processor_seconds() for process in (node, redis)]
    seconds = until("all subscriptions are there, or gone", fact, patience=90)
    node_spent, redis_spent = (process.processor_seconds() - was for process, was in zip((node, redis), spent))
    return {"seconds": seconds, "node_us": node_spent * 1e6 / count, "redis_us": redis_spent * 1e6 / count}


@subscriptions.reads
def _(found):
    def of(key, moment):
        return amount(found.median(key, moment=moment))

    return (
        f"The node joins its clients to 100,000 rooms of their own in {of('seconds', 'subscribed')} s, with "
        f"{of('node_us', 'subscribed')} µs of processor time a room, and Redis {of('redis_us', 'subscribed')} µs. "
        f"{of('seconds', 'unsubscribed')} s after they left the subscriptions are gone: rooms that become empty "
        f"keep theirs for a while, as those who leave often come back."
    )


@experiment(
    "10,000 clients come back",
    Bars(
        "after",
        (
            Axis("back_seconds", "seconds until all are back in their rooms"),
            Axis("connect_latency_p99_ms", "p99 of a connect, ms"),
        ),
    ),
)
def reconnects():
    """10,000 clients in 100 rooms lose their connections at once, because their node is killed or the network in front
    of it breaks; all come at once, to the other node or to the same.
    """
    for after in ("their node died", "all connections broke"):
        with redis_server() as redis, nodes(ROOMCAST, 2, redis) as (here, other):
            where = other if after == "their node died" else here
            with running(fanout(clients=10_000, rooms=100, rate=1, time="60s"), [here]):
                until("all are there", lambda: here.metric("roomcast_sockets") > 10_000)
                if where is other:
                    here.kill()
            started = time.monotonic()
            with running(
                fanout(clients=10_000, rooms=100, rate=1, time="1s", warmup="0s", parallel=1_000), [where]
            ) as generator:
                until("all are there again", lambda: where.metric("roomcast_sockets") > 10_000)
                found = generator.result()
            yield (
                {"after": after},
                found
                | {
                    "back_seconds": found["connect_seconds"] + found["join_seconds"],
                    "waited_seconds": time.monotonic() - started,
                },
            )


@reconnects.reads
def _(found):
    died, broke = (found.median("back_seconds", after=after) for after in found.each("after"))
    failed = sum(found.all("failed"))
    return (
        f"{amount(died)} s after their node died all 10,000 are connected to the other one and in their rooms; "
        f"{amount(broke)} s after all connections broke. {failed:,} connects failed."
    )


EXPERIMENTS = (messages, elsewhere, fleet, subscriptions, reconnects)
