"""The load generator, `roomcast bench`: how it is run, and what of its answer is kept."""

import contextlib
import json
import os
import subprocess
from dataclasses import dataclass, field

from suite import machine, programs
from suite.servers import Failed

#: What is measured of each case, and what goes before it.
SECONDS = 3
WARM_UP_SECONDS = 1

#: The longest that one run may take: thousands of slow connects, joins, and stragglers.
PATIENCE = 120

#: Bytes of an event's argument, unless a case says otherwise.
PAYLOAD = 128


@dataclass(frozen=True)
class Load:
    """What clients do: a command of the generator and its options, named as on its command line."""

    command: str
    options: dict = field(default_factory=dict)

    def arguments(self, urls, publish_urls, watched):
        arguments = [self.command, "--json", "--quiet"]
        for name, value in self.options.items():
            option = "--" + name.replace("_", "-")
            arguments += [option] if value is True else [option, str(value)]
        for option, values in (("--url", urls), ("--publish-url", publish_urls), ("--pid", watched)):
            for value in values:
                arguments += [option, str(value)]
        return arguments


def fanout(**options):
    """Publishers whose messages all members of a room hear."""
    return Load("fanout", timed(options))


def echo(**options):
    """Events that are answered."""
    return Load("echo", timed(options))


def idle(clients, **options):
    """Clients that connect, and then say nothing."""
    return Load("connect", {"clients": clients, "hold": "3s", **options})


def churn(**options):
    """Clients that connect and leave, one after the other."""
    return Load("connect", {"churn": True, "time": f"{SECONDS}s", **options})


def timed(options):
    return {"payload": PAYLOAD, "time": f"{SECONDS}s", "warmup": f"{WARM_UP_SECONDS}s", **options}


@contextlib.contextmanager
def running(load, servers, publish_to=(), watched=None, core=machine.GENERATOR_CORE):
    """The generator at work; what is given has `result()`."""
    watched = servers if watched is None else watched
    arguments = load.arguments([s.url for s in servers], [s.url for s in publish_to], [w.pid for w in watched])
    process = subprocess.Popen(
        [programs.GENERATOR, "bench", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait()


@dataclass
class Running:
    process: subprocess.Popen

    def result(self):
        """Waits for its end, and returns what it measured."""
        try:
            answer, complaint = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as expired:
            raise Failed(f"the load generator took more than {PATIENCE} s") from expired
        if self.process.returncode != 0:
            raise Failed(f"the load generator: {complaint.strip() or self.process.returncode}")
        return figures(json.loads(answer))


def measure(load, servers, publish_to=(), watched=None, core=machine.GENERATOR_CORE):
    """Runs the generator to its end; `foreign_seconds` are those of programs that have nothing to do with it."""
    watched = servers if watched is None else watched
    before = foreign_seconds(watched)
    with running(load, servers, publish_to, watched, core) as generator:
        found = generator.result()
    return found | {"foreign_seconds": max(0.0, foreign_seconds(watched) - before)}


def foreign_seconds(watched):
    """What this machine has done so far, without these servers and without generators that have ended."""
    ours = sum(server.processor_seconds() for server in watched)
    return machine.busy_seconds() - ours - machine.children_seconds()


def figures(answer):
    """What is kept of the generator's answer, flat; times in milliseconds, processor time as it is there."""
    server, kept = answer.get("server", {}), {}
    for name in (
        "seconds",
        "connected",
        "connect_seconds",
        "connects_per_second",
        "join_seconds",
        "joins",
        "round_trips_per_second",
        "deliveries_per_second",
        "publishes_per_second",
        "expected",
        "received",
        "lost",
        "out_of_order",
        "stalled_messages",
        "stalled_closed",
    ):
        kept[name] = answer.get(name)
    for name in (
        "cpu_seconds",
        "busy",
        "cpu_seconds_per_million",
        "cpu_seconds_per_thousand",
        "join_cpu_seconds",
        "bytes_per_client",
        "bytes_per_client_after_hold",
        "resident_bytes",
    ):
        kept[name] = server.get(name)
    for quantile in ("p50", "p99"):
        for name in ("latency", "connect_latency", "publish_ack"):
            micros = answer.get(f"{name}_us", {}).get(quantile)
            kept[f"{name}_{quantile}_ms"] = None if micros is None else micros / 1_000
    if answer.get("received"):
        kept["out_of_order_percent"] = 100 * answer.get("out_of_order", 0) / answer["received"]
    kept["failed"] = sum(answer.get("failed", {}).values())
    kept["closed"] = sum(answer.get("closed", {}).values())
    kept["generator_busy"] = answer.get("bench", {}).get("busy")
    kept["cpu_seconds_by_pid"] = {int(pid): spent for pid, spent in server.get("cpu_seconds_by_pid", {}).items()}
    return {name: value for name, value in kept.items() if value is not None}
