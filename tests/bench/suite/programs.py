"""The programs that take part: where they are, how they are made, and of which version they are.

The gateway itself is built by tests/bench/run. Everything is made from lock files, under target/.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from suite.machine import output

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parents[1]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
WORK = TARGET / "bench"

ROOMCAST = TARGET / "release/roomcast"
GENERATOR = ROOMCAST
FLOOR = WORK / "floor/release/floor"
SOCKETIOXIDE = WORK / "socketioxide/release/socketioxide-peer"
NODE_SERVERS = WORK / "node"
NODE_SERVER = NODE_SERVERS / "server.mjs"


def build_floor():
    """The floor alone: all that the short version needs beside the gateway."""
    build(BENCH / "floor", WORK / "floor")


def build_peers():
    """All servers that the gateway is measured beside."""
    build_floor()
    build(BENCH / "peers/socketioxide", WORK / "socketioxide")
    shutil.copytree(BENCH / "peers/node", NODE_SERVERS, dirs_exist_ok=True)
    subprocess.run(["npm", "ci", "--prefix", NODE_SERVERS, "--no-audit", "--no-fund", "--silent"], check=True)
    for addon in (NODE_SERVERS / "node_modules/@btc-vision/uwebsockets.js").glob("uws_linux_x64_*.node"):
        subprocess.run(["python3", NODE_SERVERS / "fit.py", addon], check=True)


def build(package, target):
    manifest = package / "Cargo.toml"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", target],
        check=True,
    )


def run_benchmark(name, rounds):
    """Runs one of the benchmarks that are programs of their own, and returns what it prints."""
    package = ["--quiet", "--release", "--locked", "--manifest-path", BENCH / "Cargo.toml", "--target-dir", WORK]
    command = ["cargo", "run", *package, "--bin", name, "--", ROOMCAST, str(rounds)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def versions():
    """Of everything that takes part, by its name."""
    node = json.loads((BENCH / "peers/node/package-lock.json").read_text())["packages"]
    rust = tomllib.loads((BENCH / "peers/socketioxide/Cargo.lock").read_text())["package"]
    crates = {package["name"]: package["version"] for package in rust}
    packages = {
        name: node[f"node_modules/{name}"]["version"]
        for name in ("socket.io", "ws", "@btc-vision/uwebsockets.js", "@socket.io/redis-adapter", "ioredis")
    }
    return {
        "roomcast": f"{number(output(ROOMCAST, '--version'))} ({commit()})",
        **packages,
        "socketioxide": crates["socketioxide"],
        "socketioxide-redis": crates["socketioxide-redis"],
        "Redis": number(output("redis-server", "--version")),
        "Node.js": number(output("node", "--version")),
        "Rust": number(output("rustc", "--version")),
    }


def commit():
    """Of what is measured; `+` when what is measured is in no commit."""
    changed = output("git", "-C", ROOT, "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock")
    return output("git", "-C", ROOT, "rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def number(text):
    return re.search(r"\d+\.\d+\.\d+\S*", text).group()
