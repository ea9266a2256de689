"""Servers under measurement, each a process of its own that is killed when it is no longer needed.

All of them answer the load generator alike. Every wait has a deadline.
"""

import contextlib
import os
import random
import select
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from suite import machine, programs

#: The longest time for a server to become what it has to be.
PATIENCE = 30
LOOK_AGAIN = 0.05

HOST = "127.0.0.1"


class Failed(Exception):
    """Something did not do what it had to; the text says what."""


def until(what, fact, patience=PATIENCE):
    """Waits for a fact, and says how many seconds that took."""
    started = time.monotonic()
    while not fact():
        if time.monotonic() > started + patience:
            raise Failed(f"not within {patience} s: {what}")
        time.sleep(LOOK_AGAIN)
    return time.monotonic() - started


def free_port():
    """A port that nobody listens on, below those that the system gives to connections."""
    while True:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port


@dataclass
class Process:
    """A program that runs."""

    name: str
    process: subprocess.Popen

    @property
    def pid(self):
        return self.process.pid

    def processor_seconds(self):
        return machine.processor_seconds(self.pid)

    def resident_bytes(self):
        return machine.resident_bytes(self.pid)

    def kill(self):
        """Ends it at once: there is nothing that it would have to put in order."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(name, command, core, environment=None):
    """A process on these cores; what it complains of is kept in a file."""
    programs.WORK.mkdir(parents=True, exist_ok=True)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
    with open(programs.WORK / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=bare | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, core),
        )
    try:
        yield Process(name, process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass
class Server(Process):
    """A server that listens."""

    url: str

    def metric(self, start):
        """Of a gateway: the sum of all series of its metrics that begin like this."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))

    admin: str = field(default="")


@dataclass(frozen=True)
class Peer:
    """A kind of server that says itself where it listens."""

    name: str
    command: tuple
    has_redis: bool = True

    @contextlib.contextmanager
    def start(self, core=machine.SERVERS_CORE, redis=None):
        command = [*self.command, *([redis.port] if redis else [])]
        with running(self.name, command, core) as process:
            yield Server(process.name, process.process, f"http://{said_address(process)}")


def said_address(process):
    """Where it listens, from the line in which it says so."""
    readable, _, _ = select.select([process.process.stdout], [], [], PATIENCE)
    line = process.process.stdout.readline().decode() if readable else ""
    if not line.startswith("listening on "):
        raise Failed(f"{process.name} does not listen (see {programs.WORK / process.name}.log)")
    return line.removeprefix("listening on ").strip()


@dataclass(frozen=True)
class Gateway:
    """Roomcast."""

    name: str = "Roomcast"
    has_redis: bool = True

    @contextlib.contextmanager
    def start(self, core=machine.SERVERS_CORE, redis=None, **settings):
        """Starts one; settings are named as variables of the environment, without their prefix."""
        clients, admin, peers = (f"{HOST}:{free_port()}" for _ in range(3))
        settings = {"SERVER__LISTEN": clients, "ADMIN__LISTEN": admin, **settings}
        if redis:
            settings |= {"CLUSTER__REDIS": f"redis://{HOST}:{redis.port}", "CLUSTER__LISTEN": peers}
        environment = {f"ROOMCAST_{name}": value for name, value in settings.items()}
        with running(
            self.name, [programs.ROOMCAST, "serve", "-c", programs.BENCH / "gateway.toml"], core, environment
        ) as process:
            server = Server(process.name, process.process, f"http://{clients}", f"http://{admin}")
            until(f"{self.name} is ready (see {programs.WORK / self.name}.log)", lambda: is_ready(server))
            yield server


def is_ready(server):
    if server.process.poll() is not None:
        raise Failed(f"{server.name} ended (see {programs.WORK / server.name}.log)")
    try:
        with urllib.request.urlopen(f"{server.admin}/readyz", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


ROOMCAST = Gateway()
FLOOR = Peer("floor", (programs.FLOOR,), has_redis=False)
FLOOR_ONE_WRITE = Peer("floor, one write a delivery", (programs.FLOOR, "--one-write-a-delivery"), has_redis=False)
SOCKET_IO_WS = Peer("socket.io, ws", ("node", programs.NODE_SERVER, "ws"))
SOCKET_IO_UWS = Peer("socket.io, uWS", ("node", programs.NODE_SERVER, "uws"))
SOCKETIOXIDE = Peer("socketioxide", (programs.SOCKETIOXIDE,))
PEERS = (SOCKET_IO_WS, SOCKET_IO_UWS, SOCKETIOXIDE)


@dataclass
class Redis(Process):
    """A Redis server that keeps nothing."""

    port: int

    def ask(self, command):
        """The answer to a command without arguments that need quotes, as text."""
        with socket.create_connection((HOST, self.port), PATIENCE) as connection, connection.makefile("rb") as answers:
            connection.sendall(f"{command}\r\n".encode())
            length = int(answers.readline()[1:])
            return answers.read(length).decode()

    def channels(self):
        """How many channels somebody is subscribed to."""
        lines = self.ask("INFO stats").splitlines()
        (count,) = (line.partition(":")[2] for line in lines if line.startswith("pubsub_channels:"))
        return int(count)

    def subscribers(self):
        """How many of its clients are subscribed to anything."""
        return len(self.ask("CLIENT LIST TYPE pubsub").splitlines())


@contextlib.contextmanager
def redis_server(core=machine.GENERATOR_CORE):
    port = free_port()
    command = [
        "redis-server",
        "--bind",
        HOST,
        "--port",
        port,
        "--save",
        "",
        "--appendonly",
        "no",
        "--loglevel",
        "warning",
    ]
    with tempfile.TemporaryDirectory() as folder, running("redis", [*command, "--dir", folder], core) as process:
        redis = Redis(process.name, process.process, port)
        until("Redis listens", lambda: can_connect(port))
        yield redis


def can_connect(port):
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


@contextlib.contextmanager
def nodes(kind, count, redis, core=machine.SERVERS_CORE):
    """As many servers of one kind on one Redis, that know of each other."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(kind.start(core, redis)) for _ in range(count)]
        until("all nodes are subscribed", lambda: redis.subscribers() == count)
        if kind is ROOMCAST:
            until(
                "all nodes know of each other",
                lambda: all(server.metric("roomcast_cluster_nodes ") == count for server in servers),
            )
        yield servers
