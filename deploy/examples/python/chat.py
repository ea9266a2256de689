"""A chat behind Roomcast: login, rooms that not everybody may enter, history. Python's standard library alone.

The gateway holds the connections. It asks here, by POST /webhook, who is let in and what becomes of events, and is asked
by its HTTP API to say something to clients. What is kept in memory here belongs into your database.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = int(os.environ.get("PORT", "8000"))
GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:3000")  # as browsers reach it
GATEWAY_API = os.environ.get("GATEWAY_API", "http://127.0.0.1:3001")  # as we reach it

# As in roomcast.toml.
TOKEN_SECRET = os.environ.get("TOKEN_SECRET", "change-me-tokens-0123456789-0123456789").encode()
WEBHOOK_SECRET = os.environ.get("WEBHOOK_SECRET", "change-me-webhooks-0123456789-0123456789").encode()
API_KEY = os.environ.get("API_KEY", "change-me-api-0123456789-0123456789-0123")

PAGE = (Path(__file__).parent.parent / "chat.html").read_text().replace("GATEWAY", GATEWAY)
TOLERANCE = 300  # seconds that a signature may be old
HISTORY = 100  # messages that a room keeps

ROOMS = {"lobby": None, "staff": {"alice", "bob"}}  # who may enter; None = everybody
BANNED = {"mallory"}

lock = threading.Lock()
history = {room: {} for room in ROOMS}  # messages by id
online = {}  # sockets by user


# Login: a token (JWT) says who somebody is.


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + 3600}
    message = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.new(TOKEN_SECRET, message, hashlib.sha256).digest()
    return (message + b"." + part(signature)).decode()


def login(body):
    name = json.loads(body)["name"]  # and a password, in a real application
    if not re.fullmatch(r"\w{1,20}", name):
        raise ValueError("a name has 1 to 20 letters and digits")
    return {"token": token(name)}


# Webhooks: what the gateway asks.


def is_genuine(signature, body):
    """Whether the gateway wrote this, and not long ago: `t=<seconds>,v1=<hex>`, one v1 for each of its secrets."""
    fields = [field.partition("=") for field in signature.split(",")]
    written = next((value for name, _, value in fields if name == "t" and value.isdecimal()), "0")
    expected = hmac.new(WEBHOOK_SECRET, written.encode() + b"." + body, hashlib.sha256).hexdigest()
    is_signed = any(name == "v1" and hmac.compare_digest(value.encode(), expected.encode()) for name, _, value in fields)
    return is_signed and abs(time.time() - int(written)) <= TOLERANCE


def webhook(body):
    hook = json.loads(body)
    answer = EVENTS[hook["event"]] if hook["type"] == "event" else QUESTIONS[hook["type"]]
    return answer(hook)


def connect(hook):
    """May this socket come in? Its user is the token's."""
    user = hook["socket"]["user"]
    if user in BANNED:
        return {"deny": {"message": "banned", "data": {"user": user}}}
    return {"rooms": ["lobby"], "data": {"since": hook["time"]}}


def connected(hook):
    """It is in. Users are announced once, on however many devices they are."""
    user, socket = hook["socket"]["user"], hook["socket"]["id"]
    with lock:
        online.setdefault(user, set()).add(socket)
        is_first = online[user] == {socket}
    if is_first:
        system_says(f"{user} is here", hook["id"])
    return {}


def disconnect(hook):
    user, socket = hook["socket"]["user"], hook["socket"]["id"]
    with lock:
        online.setdefault(user, set()).discard(socket)
        is_last = not online[user]
    if is_last:
        system_says(f"{user} is gone ({hook['reason']})", hook["id"])
    return {}


def join(hook):
    """We decide who may enter a room; the gateway does it, before the client has its answer."""
    room, user = argument(hook, 0), hook["socket"]["user"]
    if room not in ROOMS or (ROOMS[room] is not None and user not in ROOMS[room]):
        return refusal("forbidden", f"{user} may not enter {room}")
    return {"actions": [{"join": {"join": [room]}}], "ack": [{"ok": True, "room": room}]}


def say(hook):
    """Keeps a message and passes it on. A retry has the same id, so it changes nothing: INSERT … ON CONFLICT DO NOTHING."""
    room, text = argument(hook, 0), argument(hook, 1)
    if not is_in(room, hook):
        return refusal("forbidden", f"you are not in {room}")
    if not 0 < len(text) <= 1000:
        return refusal("bad_request", "a text has 1 to 1,000 characters")
    message = {"id": hook["id"], "room": room, "user": hook["socket"]["user"], "text": text, "time": hook["time"]}
    with lock:
        message = history[room].setdefault(hook["id"], message)
        if len(history[room]) > HISTORY:
            history[room].pop(next(iter(history[room])))
    emit = {"rooms": [room], "event": "message", "args": [message]}
    return {"actions": [{"emit": emit}], "ack": [{"ok": True, "message": message}]}


def read_history(hook):
    room = argument(hook, 0)
    if not is_in(room, hook):
        return refusal("forbidden", f"you are not in {room}")
    with lock:
        return {"ack": [{"ok": True, "messages": list(history[room].values())}]}


QUESTIONS = {"connect": connect, "connected": connected, "disconnect": disconnect}
EVENTS = {"join": join, "say": say, "history": read_history}


def argument(hook, number):
    """What clients send may be missing, or anything: a text, or else an empty one."""
    value = hook["args"][number] if number < len(hook["args"]) else None
    return value if isinstance(value, str) else ""


def is_in(room, hook):
    return room in ROOMS and room in hook["socket"]["rooms"]


def refusal(error, message):
    return {"ack": [{"ok": False, "error": error, "message": message}]}


# The API: what we ask of the gateway.


def system_says(text, id):
    """Tells the lobby. The gateway does what has the same id once, so a webhook that is retried is not heard twice."""
    message = {"id": id, "room": "lobby", "user": None, "text": text}
    return api("POST", "/v1/emit", {"rooms": ["lobby"], "event": "message", "args": [message], "id": id})


def api(method, path, body):
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(GATEWAY_API + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=2) as response:
        return json.load(response)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the gateway keeps its connections
    disable_nagle_algorithm = True  # an answer is two writes

    def do_GET(self):
        if self.path == "/":
            self.answer(200, PAGE.encode(), "text/html; charset=utf-8")
        else:
            self.answer(404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/login":
            try:
                self.answer(200, json.dumps(login(body)).encode())
            except (ValueError, KeyError, TypeError) as error:
                self.answer(400, json.dumps({"error": str(error)}).encode())
        elif self.path == "/webhook" and is_genuine(self.headers.get("Roomcast-Signature", ""), body):
            try:
                self.answer(200, json.dumps(webhook(body)).encode())
            except Exception as error:  # whatever it is, the gateway has no answer then, and retries where nobody waits
                self.log_error("webhook failed: %r", error)
                self.answer(500, b"")
        else:
            self.answer(404, b"")

    def answer(self, status, body, content_type="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
