"""deploy/cluster, run at a terminal as people run it: clients through the balancer, nodes that come and go, Ctrl-C.

Must never signal a process that it did not start, and leaves none behind.
"""

import contextlib
import os
import pty
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import socketio

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy/cluster"
PATIENCE = 20

#: From the first of a cluster's ports to the last.
PORTS = [0, 9, *[10 * gateway + more for gateway in range(1, 6) for more in range(3)]]


def until(what, fact):
    """Waits for a fact; what it was that was waited for is in the failure."""
    deadline = time.monotonic() + PATIENCE
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{PATIENCE} s without: {what() if callable(what) else what}")
        time.sleep(0.02)
    return found


def free_port():
    """Where a cluster finds all of its ports free."""
    for _ in range(100):
        first = random.randrange(10_000, 30_000, 100)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for more in PORTS:
                held.enter_context(socket.create_server(("127.0.0.1", first + more)))
            return first
    raise AssertionError("no ports are free")


def environment():
    """What is around the script, without anything that would configure it behind the test's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}


def sessions():
    """The sessions of all processes that live: each process that the script starts has one of its own."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                found.add(int(session))
    return found


class Cluster:
    """The script at a terminal of its own."""

    def __init__(self, test, *words):
        self.port = free_port()
        self.text = ""
        keyboard, terminal = pty.openpty()
        self._keyboard = keyboard
        words = ["setsid", "--ctty", SCRIPT, "--port", str(self.port), *words]
        at_terminal = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        self.process = subprocess.Popen(words, env=environment(), cwd=tempfile.gettempdir(), **at_terminal)
        os.close(terminal)
        test.addCleanup(self._end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.says("Ctrl-C    the end")
        self.processes = {int(number) for number in re.findall(r"process (\d+)", self.text)}

    def _read(self):
        with contextlib.suppress(OSError):
            while block := os.read(self._keyboard, 65536):
                self.text += block.decode()

    def _end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._keyboard)

    def types(self, text):
        """At the keyboard."""
        os.write(self._keyboard, text.encode())

    def says(self, text):
        """Waits until it is on the screen."""
        until(lambda: f"{text!r} in\n{self.text}", lambda: text in self.text)

    def orders(self, command, answer):
        """Types a command, and waits for what it leads to; keeps count of the processes."""
        self.types(f"{command}\n")
        self.says(answer)
        seen = self.text.count("logs ")
        self.types("status\n")
        until("the status", lambda: self.text.count("logs ") > seen)
        self.processes |= {int(number) for number in re.findall(r"process (\d+)", self.text)}

    def is_gone(self):
        """Waits until nothing of it is left."""
        until(lambda: f"nothing is left of {self.processes}", lambda: not self.processes & sessions())
        for more in PORTS:
            socket.create_server(("127.0.0.1", self.port + more)).close()


class Client:
    """A stock client that is in the room whenever it is connected."""

    def __init__(self, test, port, transports=None):
        self.heard = []
        self._client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.5)
        self._client.on("connect", lambda: self._client.emit("join", "news"))
        self._client.on("headline", self.heard.append)
        self._client.connect(f"http://127.0.0.1:{port}", transports=transports)
        test.addCleanup(self._client.shutdown)

    def ask(self, *words):
        """Emits an event and returns the acknowledgement; an empty one while it is not connected."""
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            return self._client.call(words[0], words[1:], timeout=5)
        return {}


class Running(unittest.TestCase):
    def all_hear(self, clients):
        """Something that the first one says is heard by all the others. It speaks until then: whose node has just gone is away
        for a moment, and does not hear what is said meanwhile."""
        def hear_one():
            text = f"what was said at {time.monotonic()}"
            clients[0].ask("publish", "news", "headline", text)
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                if all(text in client.heard for client in clients[1:]):
                    return True
                time.sleep(0.01)
            return False

        until(lambda: f"all hear the same of {[client.heard for client in clients]}", hear_one)

    def test_clients_talk_while_nodes_come_and_go_and_nothing_is_left_after_ctrl_c(self):
        cluster = Cluster(self)
        kinds = [["websocket"], ["polling"], None]
        clients = [Client(self, cluster.port, kinds[number % 3]) for number in range(7)]
        self.all_hear(clients)
        cluster.orders("kill 2", "gateway-2 has ended, exit code 137")
        self.all_hear(clients)
        cluster.orders("start 2", "gateway-2 is ready")
        cluster.orders("start 4", "gateway-4 is ready")
        cluster.orders("stop 1", "gateway-1 has ended, exit code 0")
        self.all_hear(clients)
        for client in clients:
            self.assertEqual(len(client.heard), len(set(client.heard)), "something came twice")
        cluster.types("\x03")
        self.assertEqual(cluster.process.wait(PATIENCE), 0, cluster.text)
        cluster.says("gateway-4 has ended, exit code 0")
        cluster.is_gone()

    def test_nothing_is_left_when_it_is_killed(self):
        cluster = Cluster(self, "--gateways", "2")
        cluster.process.send_signal(signal.SIGKILL)
        cluster.is_gone()


class Starting(unittest.TestCase):
    def run_script(self, *words, **more):
        """Runs it to its end, without a keyboard."""
        given = {"env": environment(), "stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **more}
        return subprocess.run([SCRIPT, *words], cwd=tempfile.gettempdir(), timeout=PATIENCE, **given)

    def test_a_port_that_is_taken_is_named_and_nothing_is_left(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", port + 30)):
            ended = self.run_script("--port", str(port))
        self.assertEqual(ended.returncode, 69, ended.stderr)
        self.assertIn(f"port {port + 30}, for gateway-3, is taken", ended.stderr)
        for more in PORTS:
            socket.create_server(("127.0.0.1", port + more)).close()

    def test_a_gateway_that_does_not_start_says_why_and_nothing_is_left(self):
        port = free_port()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("[server]\nlisten_to = 1\n")
            file.flush()
            ended = self.run_script("--port", str(port), "--config", file.name)
        self.assertEqual(ended.returncode, 69, ended.stderr)
        self.assertIn("server.listen_to", ended.stderr)
        self.assertIn("gateway-1 does not start", ended.stderr)
        for more in PORTS:
            socket.create_server(("127.0.0.1", port + more)).close()

    def test_what_is_missing_is_named_with_its_package(self):
        with tempfile.TemporaryDirectory() as folder:
            for tool in ("bash", "dirname"):
                (Path(folder) / tool).symlink_to(Path("/usr/bin") / tool)
            ended = self.run_script(env={"PATH": folder})
        self.assertEqual(ended.returncode, 69)
        self.assertEqual(ended.stderr, "deploy/cluster: redis-server is missing; on Debian: apt-get install redis-server\n")

    def test_wrong_options_are_refused(self):
        for words, complaint in {
            ("--gateways", "6"): '--gateways is a number from 1 to 5, not "6"',
            ("--port", "0"): '--port is a number up to 65000, not "0"',
            ("--port",): "--port wants a value",
            ("--config", "/nowhere"): "cannot read /nowhere",
            ("--nodes", "3"): "unknown option --nodes",
        }.items():
            with self.subTest(words=words):
                ended = self.run_script(*words)
                self.assertEqual(ended.returncode, 64, ended.stderr)
                self.assertIn(complaint, ended.stderr)


if __name__ == "__main__":
    unittest.main()
