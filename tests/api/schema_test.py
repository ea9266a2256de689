"""The HTTP API against its own description: schemathesis asks a real gateway for everything that openapi.json allows and
forbids, and looks at every answer.

Must never ask a gateway that it did not start.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("ROOMCAST_BIN", ROOT / "target/release/roomcast")).resolve()
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
KEY = "a-key-that-is-for-this-test-alone"

#: Requests that are made up for each operation, from which beginning, and the seconds that all may take.
EXAMPLES = int(os.environ.get("EXAMPLES", "40"))
SEED = os.environ.get("SEED", "1")
LIMIT = 90


class Gateway:
    """The built gateway, in memory, on ports that the system picks."""

    def __init__(self, test, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
        words = [BINARY, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"]
        self.process = subprocess.Popen(words, env=kept | variables, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        for line in self.process.stderr:
            if found := re.search(r'"admin":"([^"]+)"', line):
                self.url = f"http://{found[1]}"
                break
        else:
            raise AssertionError("the gateway ended before it listened")
        # Nobody reads the rest, which must not fill a pipe.
        self.reader = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.process.stdin.close()
        self.reader.wait()

    def get(self, path, **headers):
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


class Description(unittest.TestCase):
    def conforms(self, gateway, description, *words):
        """Asks for everything that a description allows and forbids."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "openapi.json").write_text(json.dumps(description))
            (Path(folder) / "schemathesis.toml").write_text(CONFIGURATION.read_text())
            command = [Path(sys.executable).with_name("st"), "run", "openapi.json", "--url", gateway.url]
            command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", SEED, "--no-shrink"]
            # Bounds are in bytes, and in ASCII those are characters.
            command += ["--generation-codec", "ascii", "--suppress-health-check", "all", "--warnings", "off", *words]
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(ran.returncode, 0, ran.stdout[-20_000:] + ran.stderr)
        cases = int(re.search(r"([\d,]+) generated", ran.stdout)[1].replace(",", ""))
        self.assertGreater(cases, 500, ran.stdout)
        return cases

    def test_the_api_is_as_it_says_to_whoever_has_a_key(self):
        gateway = Gateway(self, ROOMCAST_ADMIN__KEYS=json.dumps([KEY]))
        authorization = f"Bearer {KEY}"
        description = gateway.get("/openapi.json", Authorization=authorization)
        description["security"] = [{"key": []}]  # a gateway with keys wants one
        self.conforms(gateway, description, "--header", f"Authorization: {authorization}")
        self.assertEqual(len(gateway.get("/v1/nodes", Authorization=authorization)["nodes"]), 1)

    def test_the_api_is_as_it_says_where_there_are_no_keys(self):
        gateway = Gateway(self)
        description = gateway.get("/openapi.json")
        self.conforms(gateway, {**description, "security": []})


if __name__ == "__main__":
    unittest.main()
