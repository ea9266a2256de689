"""What was measured, run by run: kept in measured.json, and asked for medians and ranges.

A part (the table, growth, …) is measured anew as a whole and takes the place of what was there of it.
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass, field

from suite import machine, programs
from suite.servers import Failed

FILE = programs.BENCH / "measured.json"

#: Digits of a figure that are kept: there is no truth in more.
DIGITS = 4


@dataclass
class Findings:
    """Runs, each a dictionary: what it was a run of, and its figures."""

    runs: list = field(default_factory=list)

    def where(self, **labels):
        """Those of which all this is true."""
        return Findings([run for run in self.runs if all(run.get(name) == value for name, value in labels.items())])

    def each(self, name):
        """The different values under this name, in the order in which they were measured."""
        return list(dict.fromkeys(run[name] for run in self.runs if name in run))

    def all(self, key):
        return [run[key] for run in self.runs if key in run]

    def has(self, key):
        return bool(self.all(key))

    def median(self, key, **labels):
        return statistics.median(self.where(**labels).all(key))

    def medians(self, key, by):
        """The median for each value under another name."""
        return [self.median(key, **{by: value}) for value in self.each(by) if self.where(**{by: value}).has(key)]

    def failures(self):
        return self.all("failure")


@dataclass
class Part:
    """Everything of one part, and when, where and with what it was measured."""

    name: str
    date: str
    machine: str
    versions: dict
    runs: list

    def of(self, case):
        return Findings([run for run in self.runs if run["case"] == case])


class Keeper:
    """Keeps what is measured now, and says what is going on."""

    def __init__(self, name):
        self.part = Part(name, time.strftime("%Y-%m-%d"), machine.description(), programs.versions(), [])

    def run(self, case, turn, labels, measure, *arguments):
        """Measures once, and keeps what came of it; a failure is kept, too, and the rest goes on."""
        self.all(case, turn, ((labels, measure(*arguments)) for _ in range(1)))

    def all(self, case, turn, findings):
        """Keeps all that an experiment finds."""
        started = time.monotonic()
        try:
            for labels, figures in findings:
                kept = {name: rounded(figure) for name, figure in figures.items() if not isinstance(figure, dict)}
                self.keep(case, turn, labels, kept, started)
                started = time.monotonic()
        except (Failed, OSError, ValueError, KeyError) as failure:
            self.keep(case, turn, {"failure": f"{type(failure).__name__}: {failure}"}, {}, started)

    def keep_text(self, name, text):
        """Keeps what a program printed, as it is."""
        print(text, file=sys.stderr)
        self.part.runs.append({"case": name, "text": text})

    def keep(self, case, turn, labels, figures, started):
        self.part.runs.append({"case": case, "round": turn + 1, **labels, **figures})
        shown = labels | {name: figure for name, figure in figures.items() if name in SHOWN}
        text = ", ".join(f"{name} {value}" for name, value in shown.items())
        seconds = time.monotonic() - started
        print(f"{time.strftime('%H:%M:%S')} {seconds:5.1f} s  {case}: {text}", file=sys.stderr, flush=True)


#: Of each run, for those who watch.
SHOWN = (
    "cpu_seconds_per_million",
    "cpu_seconds_per_thousand",
    "bytes_per_client_after_hold",
    "latency_p99_ms",
    "generator_busy",
    "lost",
    "out_of_order",
    "foreign_seconds",
)


def rounded(figure):
    return float(f"{figure:.{DIGITS}g}") if isinstance(figure, float) else figure


def load():
    """All parts that were ever measured, by their names."""
    if not FILE.exists():
        return {}
    return {name: Part(name, **part) for name, part in json.loads(FILE.read_text()).items()}


def save(parts):
    """Writes all parts; a line a run, so that differences can be read."""
    texts = []
    for part in parts.values():
        heads = [
            f"  {json.dumps(name)}: {json.dumps(getattr(part, name), ensure_ascii=False)}"
            for name in ("date", "machine", "versions")
        ]
        runs = ",\n".join(f"    {json.dumps(run, ensure_ascii=False)}" for run in part.runs)
        texts.append(f"{json.dumps(part.name)}: {{\n" + ",\n".join([*heads, f'  "runs": [\n{runs}\n  ]']) + "\n}")
    FILE.write_text("{\n" + ",\n".join(texts) + "\n}\n")
