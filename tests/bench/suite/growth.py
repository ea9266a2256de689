"""How Roomcast's costs grow: with members, rooms, bytes, kinds of clients, and what came and went before."""

import time

from suite import lab, machine
from suite.experiment import Axis, Bars, Lines, amount, between, experiment
from suite.generator import churn, echo, fanout, idle, measure, running
from suite.servers import ROOMCAST, until

A_DELIVERY = Axis("cpu_seconds_per_million", "CPU, µs a delivery")
AN_ECHO = Axis("cpu_seconds_per_million", "CPU, µs an echo")

#: Time for memory to be given back: the allocator keeps what was free for less than ten seconds.
SETTLE_SECONDS = 12

#: A room whose publisher never rests: each message is ten thousand writes.
LARGE_ROOM = {"clients": 10_000, "window": 4, "room": "large"}

#: What the large room's publisher goes on for, so that whatever is measured beside it fits in.
LARGE_ROOM_SECONDS = 10


@experiment("Members of a room", Lines(Axis("members", "members of the room", True), (A_DELIVERY,)))
def members():
    """One room; one publisher keeps four messages in flight, and publishes the next when all members have one."""
    for count in (10, 100, 1_000, 3_000, 10_000, 18_000):
        yield {"members": count}, lab.alone(ROOMCAST, fanout(clients=count, window=4))


@members.reads
def _(found):
    counts = found.each("members")
    costs = found.medians(A_DELIVERY.key, by="members")
    return f"From {counts[0]} to {counts[-1]:,} members a delivery costs {between(costs, 'µs')} of processor time."


@experiment(
    "Rooms",
    Lines(
        Axis("rooms", "rooms of ten members", True),
        (A_DELIVERY, Axis("join_us", "CPU, µs a join")),
    ),
)
def rooms():
    """Rooms of ten members each; ten publishers go through all of them, with 2,000 messages a second in all. There are
    10,000 clients at most: from then on they are in ten and in a hundred rooms each.
    """
    for count in (1, 10, 100, 1_000, 10_000, 100_000):
        clients = min(10 * count, 10_000)
        load = fanout(clients=clients, rooms=count, rooms_per_client=10 * count // clients, publishers=10, rate=2_000)
        found = lab.alone(ROOMCAST, load)
        joined = {"join_us": found["join_cpu_seconds"] * 1e6 / found["joins"]} if count >= 1_000 else {}
        yield {"rooms": count}, found | joined  # fewer joins take too little time to be measured


@rooms.reads
def _(found):
    counts = found.each("rooms")
    deliveries, joins = (found.medians(key, by="rooms") for key in (A_DELIVERY.key, "join_us"))
    return (
        f"From {counts[0]} room to {counts[-1]:,} a delivery costs {between(deliveries, 'µs')} of processor time, "
        f"and a join {between(joins, 'µs')}."
    )


@experiment(
    "Size of a message",
    Lines(Axis("payload", "bytes of the argument", True), (Axis(A_DELIVERY.key, A_DELIVERY.name, True),)),
)
def payload():
    """One room of a hundred, window 4, with arguments of 40 bytes to 100 kB."""
    for size in (40, 100, 1_000, 10_000, 100_000):
        yield {"payload": size}, lab.alone(ROOMCAST, fanout(clients=100, window=4, payload=size))


@payload.reads
def _(found):
    sizes, costs = found.each("payload"), found.medians(A_DELIVERY.key, by="payload")
    a_kilobyte = (costs[-1] - costs[0]) * 1_000 / (sizes[-1] - sizes[0])
    return (
        f"A delivery of {sizes[0]} bytes costs {amount(costs[0])} µs, one of {sizes[-1]:,} bytes {amount(costs[-1])} µs: "
        f"{amount(a_kilobyte)} µs for each further kilobyte, most of it the system's copying."
    )


def variants(name, values, **common):
    """The same fan-out and the same echo, with one option of the clients changed."""
    for value in values:
        options = {name: value}
        yield (
            {"variant": str(value), "load": "fan-out"},
            lab.alone(ROOMCAST, fanout(clients=1_000, window=4, **options, **common)),
        )
        yield (
            {"variant": str(value), "load": "echo"},
            lab.alone(ROOMCAST, echo(clients=100, window=16, **options, **common)),
        )


def compared(found, one, other):
    """How much dearer the other variant is."""
    of = {
        load: [found.median(A_DELIVERY.key, variant=v, load=load) for v in (one, other)] for load in ("fan-out", "echo")
    }
    return {load: costs + [costs[1] / costs[0]] for load, costs in of.items()}


VARIANTS = Bars("load", (Axis(A_DELIVERY.key, "CPU, µs a delivery or echo"),), by="variant")


@experiment("Transports", VARIANTS)
def transports():
    """A room of 1,000 at window 4, and 100 clients with 16 echoes in flight: by WebSocket, by polling, and by WebSocket
    after an upgrade from polling.
    """
    yield from variants("transport", ("websocket", "polling", "upgrade"))


@transports.reads
def _(found):
    costs = compared(found, "websocket", "polling")
    return (
        f"By polling a delivery costs {amount(costs['fan-out'][1])} µs, {amount(costs['fan-out'][2])} times that by "
        f"WebSocket; an echo {amount(costs['echo'][1])} µs, {amount(costs['echo'][2])} times."
    )


@experiment("Protocol versions", VARIANTS)
def versions():
    """The same by clients 3.x and 4.x (Engine.IO 4) and by clients 1.x and 2.x (Engine.IO 3)."""
    yield from variants("eio", (4, 3))


@versions.reads
def _(found):
    costs = compared(found, "4", "3")
    return f"Clients 1.x and 2.x cost {costs['fan-out'][2]:.2f} times as much in fan-out, {costs['echo'][2]:.2f} times in echo."


@experiment("Parsers", VARIANTS)
def parsers():
    """The same with Socket.IO's own packets, and with those of socket.io-msgpack-parser."""
    yield from variants("parser", ("json", "msgpack"))


@parsers.reads
def _(found):
    costs = compared(found, "json", "msgpack")
    return f"MessagePack costs {costs['fan-out'][2]:.2f} times as much as JSON in fan-out, {costs['echo'][2]:.2f} times in echo."


@experiment(
    "Memory, after clients came and went",
    Lines(
        Axis("step", "step: start, then in turn with clients and without"),
        (Axis("megabytes", "resident memory, MB"),),
        by="series",
    ),
    rounds_max=1,
)
def memory():
    """Three times 10,000 clients connect and leave. Then, at another gateway, 1,000 subscribers that never read, until
    each of them is cut.
    """
    yield from steps("10,000 come and go", [idle(10_000, hold="1s")] * 3)
    slow = fanout(clients=10, window=8, payload=100_000, stalled=1_000, time="6s")
    yield from steps("1,000 never read", [slow])


def steps(series, loads):
    with ROOMCAST.start() as server:
        yield {"series": series, "step": 0}, {"megabytes": server.resident_bytes() / 1e6}
        for turn, load in enumerate(loads):
            with running(load, [server]) as generator:
                most = server.resident_bytes()
                while generator.process.poll() is None:
                    most = max(most, server.resident_bytes())
                    time.sleep(0.1)
                found = generator.result()
            yield {"series": series, "step": 2 * turn + 1}, found | {"megabytes": most / 1e6}
            until("all clients are gone", lambda: server.metric("roomcast_connections") == 0)
            time.sleep(SETTLE_SECONDS)
            cut = server.metric('roomcast_disconnects_total{reason="too_slow"}')
            yield {"series": series, "step": 2 * turn + 2}, {"megabytes": server.resident_bytes() / 1e6, "cut": cut}


@memory.reads
def _(found):
    churned, stormed = (found.where(series=series).medians("megabytes", by="step") for series in found.each("series"))
    return (
        f"{amount(churned[0])} MB at the start and {amount(churned[1])} MB with 10,000 clients; {amount(churned[2])} MB "
        f"after they left, and {amount(churned[-1])} MB after they had come and left three times. "
        f"A thousand that never read: {amount(stormed[1])} MB at most, {amount(stormed[-1])} MB afterwards, "
        f"{found.all('cut')[-1]:,.0f} of them cut as too slow."
    )


@experiment(
    "Both cores",
    Bars("cores", (Axis("busy", "cores busy in the gateway"), Axis("deliveries_per_second", "deliveries a second"))),
)
def cores():
    """One room of 10,000, window 4: gateway and generator on a core each; then both on both cores, so that the gateway
    takes what the generator leaves.
    """
    load = fanout(clients=10_000, window=4)
    yield {"cores": "one core"}, lab.alone(ROOMCAST, load)
    with ROOMCAST.start(machine.BOTH_CORES) as server:
        yield {"cores": "both cores"}, measure(load, [server], core=machine.BOTH_CORES)


@cores.reads
def _(found):
    one, both = (found.median("deliveries_per_second", cores=where) for where in ("one core", "both cores"))
    busy, generator = (found.median(key, cores="both cores") for key in ("busy", "generator_busy"))
    return (
        f"Where both may use both cores the gateway takes {amount(busy)} and the generator {amount(generator)} of them, and "
        f"members hear {amount(both)} deliveries a second; on a core each {amount(one)}. More than its share of two cores "
        f"a gateway beside its generator cannot show; `tests/bench/run micro 'on . threads'` has its delivery loops alone, on one "
        f"thread and on two."
    )


@experiment(
    "A small room beside a large one",
    Bars("beside", (Axis("latency_p50_ms", "median, ms"), Axis("latency_p99_ms", "p99, ms"))),
)
def neighbours():
    """A room of ten, fifty messages a second: alone, and while a room of 10,000 has as much as one core can deliver."""
    small = fanout(clients=10, rate=50, room="small")
    yield {"beside": "alone"}, lab.alone(ROOMCAST, small)
    yield {"beside": "beside 10,000"}, beside_the_large_room(small)


@neighbours.reads
def _(found):
    alone, beside = (found.median("latency_p99_ms", beside=where) for where in ("alone", "beside 10,000"))
    return (
        f"99 of 100 messages of the small room arrive within {amount(alone)} ms when it is alone, "
        f"within {amount(beside)} ms beside the large one."
    )


@experiment(
    "Handshakes while a core is saturated",
    Bars("beside", (Axis("connects_per_second", "connects a second"), Axis("connect_latency_p99_ms", "p99, ms"))),
)
def handshakes():
    """64 clients at a time connect, enter the namespace and leave: with nothing else to do, and beside the same room of
    10,000.
    """
    yield {"beside": "alone"}, lab.alone(ROOMCAST, churn())
    yield {"beside": "beside 10,000"}, beside_the_large_room(churn())


@handshakes.reads
def _(found):
    def of(key):
        return [found.median(key, beside=where) for where in ("alone", "beside 10,000")]

    rates, times = of("connects_per_second"), of("connect_latency_p99_ms")
    return (
        f"{amount(rates[0])} connects a second when there is nothing else to do (p99 {amount(times[0])} ms), "
        f"{amount(rates[1])} beside a room that takes all it gets (p99 {amount(times[1])} ms)."
    )


def beside_the_large_room(load):
    """Measures a load while the large room is served by the same gateway."""
    large = fanout(**LARGE_ROOM, time=f"{LARGE_ROOM_SECONDS}s")
    with ROOMCAST.start() as server, running(large, [server]):
        until("the large room is full", lambda: server.metric("roomcast_sockets") > LARGE_ROOM["clients"])
        until("it is being published to", lambda: server.metric("roomcast_deliveries_total") > LARGE_ROOM["clients"])
        return measure(load, [server])


EXPERIMENTS = (members, rooms, payload, transports, versions, parsers, memory, cores, neighbours, handshakes)
