"""python-socketio's clients as a child process: commands come as lines of JSON, answers and events leave as such.

usage: client.py sync|async URL NAMESPACE TRANSPORTS

Must never help the client: it connects, comes back and reads packets as it is installed.
"""

import asyncio
import json
import sys
import threading

import socketio


def plain(value):
    """Bytes as the JavaScript side of the tests writes them."""
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": list(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def unplain(value):
    """The way back."""
    if isinstance(value, list):
        return [unplain(item) for item in value]
    if isinstance(value, dict):
        return bytes(value["bytes"]) if list(value) == ["bytes"] else {key: unplain(item) for key, item in value.items()}
    return value


lock = threading.Lock()


def say(**line):
    with lock:
        print(json.dumps(line), flush=True)


def run_sync(url, namespace, transports):
    client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)
    client.on("connect", lambda: say(state="connect", id=client.get_sid(namespace), transport=client.transport()), namespace)
    client.on("disconnect", lambda reason: say(state="disconnect", reason=reason), namespace)
    client.on("connect_error", lambda data: say(state="connect_error", data=plain(data)), namespace)
    client.on("*", lambda event, *args: say(event=event, args=plain(args)), namespace)
    client.connect(url, namespaces=[namespace], transports=transports, wait_timeout=20)
    for line in sys.stdin:
        command = json.loads(line)
        if "transport" in command:
            say(transport=client.transport())
        elif "call" in command:
            event, *args = unplain(command["call"])
            say(answer=plain(client.call(event, tuple(args), namespace=namespace, timeout=20)))
    client.disconnect()


async def run_async(url, namespace, transports):
    client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)
    client.on("connect", lambda: say(state="connect", id=client.get_sid(namespace), transport=client.transport()), namespace)
    client.on("disconnect", lambda reason: say(state="disconnect", reason=reason), namespace)
    client.on("connect_error", lambda data: say(state="connect_error", data=plain(data)), namespace)
    client.on("*", lambda event, *args: say(event=event, args=plain(args)), namespace)
    await client.connect(url, namespaces=[namespace], transports=transports, wait_timeout=20)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        if "transport" in command:
            say(transport=client.transport())
        elif "call" in command:
            event, *args = unplain(command["call"])
            say(answer=plain(await client.call(event, tuple(args), namespace=namespace, timeout=20)))
    await client.disconnect()


kind, url, namespace, transports = sys.argv[1:]
if kind == "sync":
    run_sync(url, namespace, transports.split(","))
else:
    asyncio.run(run_async(url, namespace, transports.split(",")))
