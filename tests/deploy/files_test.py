"""The files in deploy/ and docker-compose.yml: read as those who are to run them do, and held against the defaults.

Builds no image and starts no service: what needs Docker, systemd or Kubernetes to be there is not tested here.
"""

import functools
import json
import os
import re
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

import kubernetes_validate
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BINARY = Path(os.environ.get("ROOMCAST_BIN", ROOT / "target/release/roomcast")).resolve()
DEFAULTS = tomllib.loads((ROOT / "config/roomcast.toml").read_text())

#: The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES = ("1.25", "1.37")

#: What may wait for a drain to end, more than the drain itself.
GRACE_SECONDS = 10


def run(*words, environment=None, **more):
    """What a command says, with its exit code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
    words = [str(word) for word in words]
    return subprocess.run(words, env=kept | (environment or {}), capture_output=True, text=True, timeout=60, **more)


def grace():
    """The seconds that a supervisor has to wait."""
    return int(re.fullmatch(r"(\d+)s", DEFAULTS["drain"]["timeout"])[1]) + GRACE_SECONDS


def port(section):
    """The default port of a listener."""
    return int(DEFAULTS[section]["listen"].rpartition(":")[2])


@functools.cache
def compose():
    """docker-compose.yml, with what it repeats put in place."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def gateways():
    """The gateways among its services."""
    return {name: service for name, service in compose()["services"].items() if name.startswith("gateway-")}


@functools.cache
def dockerfile():
    """The instructions of the Dockerfile: a list of (name, arguments)."""
    text = re.sub(r"\\\n", "", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def image_environment():
    """The environment that the image brings."""
    last_stage = max(index for index, (name, _) in enumerate(dockerfile()) if name == "FROM")
    words = [word for name, rest in dockerfile()[last_stage:] if name == "ENV" for word in rest.split()]
    return dict(word.split("=", 1) for word in words)


@functools.cache
def manifests():
    """What Kubernetes is given, as a list of objects, with the ingress that has to be asked for."""
    built = run("kubectl", "kustomize", DEPLOY / "kubernetes")
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout)) + [yaml.safe_load((DEPLOY / "kubernetes/ingress.yaml").read_text())]


def manifest(kind, name="roomcast"):
    """One of them."""
    found = [one for one in manifests() if one["kind"] == kind and one["metadata"]["name"].startswith(name)]
    return found[0]


def pod():
    """The gateway's pod."""
    return manifest("Deployment")["spec"]["template"]


def container():
    """The container in it."""
    return pod()["spec"]["containers"][0]


def unit():
    """The settings of the unit: a list of (name, value)."""
    lines = (DEPLOY / "systemd/roomcast.service").read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"[A-Za-z]+=", line)]


class Docker(unittest.TestCase):
    def test_compose_reads_the_file(self):
        parsed = PyCompose.from_json(json.dumps(compose()))
        self.assertEqual(set(parsed.service_names()), {"nginx", "gateway-1", "gateway-2", "gateway-3", "redis"})

    def test_the_dockerfile_has_no_findings(self):
        found = run("hadolint", DEPLOY / "Dockerfile")
        self.assertEqual((found.returncode, found.stdout), (0, ""))

    def test_the_image_is_built_from_what_is_let_through_and_needs_no_more(self):
        lines = (ROOT / ".dockerignore").read_text().split("\n")
        rules = [line for line in lines if line and not line.startswith("#")]
        self.assertEqual(rules[0], "*")
        let_through = {line.removeprefix("!") for line in rules[1:]}
        copied = [rest.split()[:-1] for name, rest in dockerfile() if name == "COPY" and not rest.startswith("--from")]
        self.assertEqual({path for paths in copied for path in paths}, let_through)
        # Cargo says what the binary was made of.
        made_of = BINARY.with_suffix(".d").read_text().partition(": ")[2].split()
        self.assertIn(str(ROOT / "src/main.rs"), made_of)
        for path in made_of:
            self.assertIn(Path(path).relative_to(ROOT).parts[0], let_through)

    def test_what_stands_in_for_the_package_satisfies_cargo(self):
        made = next(rest for name, rest in dockerfile() if name == "RUN" and "src/main.rs" in rest)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("Cargo.toml", "Cargo.lock"):
                (Path(folder) / name).write_bytes((ROOT / name).read_bytes())
            steps = [step for step in made.split("&&") if "cargo" not in step]
            self.assertEqual(run("sh", "-euc", "&&".join(steps), cwd=folder).stderr, "")
            read = run("cargo", "metadata", "--no-deps", "--offline", "--format-version=1", cwd=folder)
            self.assertEqual(read.returncode, 0, read.stderr)

    def test_the_image_is_no_root_and_says_how_it_is_asked_and_stopped(self):
        stage = dict(dockerfile())
        self.assertRegex(stage["USER"], r"^[1-9]\d*:[1-9]\d*$")
        self.assertEqual(stage["STOPSIGNAL"], "SIGTERM")
        self.assertEqual(stage["EXPOSE"].split(), [str(port("server")), str(port("cluster"))])
        self.assertTrue(stage["HEALTHCHECK"].endswith('CMD ["/usr/local/bin/roomcast", "health"]'))
        self.assertEqual(stage["ENTRYPOINT"], '["/usr/local/bin/roomcast"]')

    def test_gateways_take_what_image_and_compose_tell_them(self):
        for name, service in gateways().items():
            checked = run(BINARY, "check", environment=image_environment() | service["environment"])
            self.assertEqual(checked.returncode, 0, f"{name}: {checked.stderr}")
            self.assertIn(f'listen = "0.0.0.0:{port("server")}"', checked.stdout)
            self.assertEqual(service["stop_grace_period"], f"{grace()}s")

    def test_nginx_alone_is_reached_and_from_this_machine_alone(self):
        published = {name: service["ports"] for name, service in compose()["services"].items() if "ports" in service}
        self.assertEqual(published, {"nginx": [f"127.0.0.1:{port('server')}:80"]})

    def test_nginx_balances_these_gateways_and_is_believed_by_them(self):
        configuration = (DEPLOY / "nginx.conf").read_text()
        servers = re.findall(r"^ *server (gateway-\d+:\d+)", configuration, re.MULTILINE)
        self.assertEqual(servers, [f"{name}:{port('server')}" for name in gateways()])
        self.assertRegex(configuration, r"(?m)^ *listen 80;")
        self.assertEqual(set(compose()["services"]["nginx"]["depends_on"]), set(gateways()))
        address = compose()["services"]["nginx"]["networks"]["default"]["ipv4_address"]
        for service in gateways().values():
            self.assertEqual(service["environment"]["ROOMCAST_SERVER__TRUSTED_PROXIES"], f'["{address}/32"]')


class Systemd(unittest.TestCase):
    def folder(self):
        """A folder with the unit in it, which runs the built gateway."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        text = (DEPLOY / "systemd/roomcast.service").read_text()
        self.assertIn("ExecStart=/usr/local/bin/roomcast ", text)
        path = Path(folder.name) / "roomcast.service"
        path.write_text(text.replace("/usr/local/bin/roomcast ", f"{BINARY} "))
        return path

    def test_systemd_finds_nothing_wrong(self):
        found = run("systemd-analyze", "verify", self.folder())
        self.assertEqual((found.returncode, found.stdout + found.stderr), (0, ""))

    def test_the_service_may_do_little(self):
        judged = run("systemd-analyze", "security", "--offline=true", "--threshold=15", self.folder())
        self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)

    def test_it_waits_for_a_drain_and_knows_the_exit_codes(self):
        settings = dict(unit())
        self.assertEqual(settings["TimeoutStopSec"], f"{grace()}s")
        self.assertEqual(settings["Type"], "notify")
        self.assertEqual(settings["RestartPreventExitStatus"], "64")
        self.assertEqual(settings["SuccessExitStatus"], "75")


class Kubernetes(unittest.TestCase):
    def test_every_manifest_is_in_the_kustomization_and_fits_the_schema(self):
        listed = (DEPLOY / "kubernetes/kustomization.yaml").read_text()
        for path in (DEPLOY / "kubernetes").iterdir():
            if path.name != "kustomization.yaml":
                self.assertIn(path.name, listed)
        for one in manifests():
            for version in KUBERNETES:
                with self.subTest(kind=one["kind"], name=one["metadata"]["name"], version=version):
                    kubernetes_validate.validate(one, version, strict=True)

    def test_a_drain_is_waited_for_and_no_node_goes_before_the_next_has_come(self):
        self.assertEqual(pod()["spec"]["terminationGracePeriodSeconds"], grace())
        self.assertEqual(manifest("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        self.assertEqual(manifest("PodDisruptionBudget")["spec"]["maxUnavailable"], 1)

    def test_the_ports_are_the_defaults_and_all_names_are_known(self):
        names = {one["name"]: one["containerPort"] for one in container()["ports"]}
        self.assertEqual(names, {"clients": port("server"), "admin": port("admin"), "cluster": port("cluster")})
        probes = [container()[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
        self.assertEqual([probe["path"] for probe in probes], ["/livez", "/readyz", "/livez"])
        self.assertEqual({probe["port"] for probe in probes}, {"admin"})
        services = [one for one in manifests() if one["kind"] == "Service" and one["metadata"]["name"] != "redis"]
        self.assertEqual({one["spec"]["ports"][0]["targetPort"] for one in services}, {"clients", "admin"})
        backend = manifest("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        self.assertEqual(backend, {"name": "roomcast", "port": {"name": "http"}})

    def test_selectors_find_the_gateways(self):
        labels = pod()["metadata"]["labels"]
        selectors = [
            manifest("Deployment")["spec"]["selector"]["matchLabels"],
            manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            manifest("Service")["spec"]["selector"],
            manifest("Service", "roomcast-admin")["spec"]["selector"],
            *[one["labelSelector"]["matchLabels"] for one in pod()["spec"]["topologySpreadConstraints"]],
        ]
        for selector in selectors:
            self.assertEqual(selector, labels)

    def test_peers_alone_reach_the_port_between_nodes(self):
        rules = manifest("NetworkPolicy")["spec"]["ingress"]
        peers = [rule["from"] for rule in rules if {"port": "cluster"} in rule["ports"]]
        self.assertEqual(peers, [[{"podSelector": {"matchLabels": pod()["metadata"]["labels"]}}]])
        self.assertEqual([rule["ports"] for rule in rules], [[{"port": name}] for name in ("clients", "admin", "cluster")])

    def test_gateways_take_what_their_pods_tell_them(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            secrets = {"redis": "redis://redis:6379", "cluster_secret": "0" * 64, "admin_keys": "1" * 64}
            files = {**secrets, "roomcast.toml": manifest("ConfigMap")["data"]["roomcast.toml"]}
            for name, text in files.items():
                (folder / name).write_text(text)
            mounts = {one["name"]: one["mountPath"] for one in container()["volumeMounts"]}
            environment = image_environment()
            for one in container()["env"]:
                value = one.get("value", "10.1.2.3").replace("$(POD_IP)", "10.1.2.3")
                for mount in mounts.values():
                    value = value.replace(mount, str(folder))
                environment[one["name"]] = value
            checked = run(BINARY, "check", environment=environment)
            self.assertEqual(checked.returncode, 0, checked.stderr)
            self.assertIn(f'listen = "0.0.0.0:{port("admin")}"', checked.stdout)
            self.assertIn('advertise = "10.1.2.3:3002"', checked.stdout)
        for name in secrets:
            self.assertIn(f"--from-literal={name}=", (DEPLOY / "kubernetes/kustomization.yaml").read_text())


if __name__ == "__main__":
    unittest.main()
