"""RESULTS.md, made of what was measured and of nothing else: no figure is written into it by hand."""

import statistics

from suite import cluster, growth, measured, plots, programs, table
from suite.experiment import amount
from suite.servers import FLOOR, FLOOR_ONE_WRITE, PEERS, ROOMCAST

FILE = programs.BENCH / "RESULTS.md"

#: Parts that are experiments, under these headings.
EXPERIMENTS = {"growth": ("Growth", growth.EXPERIMENTS), "cluster": ("Between nodes", cluster.EXPERIMENTS)}

#: Parts whose programs print tables of their own, under these headings.
PRINTED = {
    "emits": "Broadcasts of the application",
    "forwarding": "Requests that come to the wrong node",
}

#: Share of deliveries that must be lost or late before the table says so.
WORTH_SAYING = 0.001

HEAD = """\
# What was measured

`tests/bench/run` measures all of this and writes this page; [README.md](README.md) says how to read it and to run parts of
it. Figures are medians of all rounds, with the least and the most in brackets. Those of processor time are what to trust:
they move by ten percent or twenty from run to run, rates and times by more: ratios near one say that two are alike, and
verdicts go by medians. Compare only what was measured side by side.
"""


def write():
    """Makes the page and its plots anew."""
    parts = measured.load()
    sections = [HEAD, set_up(parts)]
    if "table" in parts:
        sections.append(the_table(parts["table"]))
    for name, (heading, experiments) in EXPERIMENTS.items():
        if name in parts:
            sections.append(f"## {heading}\n\n{when(parts[name])}")
            sections += [section(experiment, parts[name]) for experiment in experiments]
    for name, heading in PRINTED.items():
        if name in parts:
            (run,) = parts[name].runs
            sections.append(f"## {heading}\n\n{when(parts[name])}\n\n```text\n{run['text'].strip()}\n```")
    FILE.write_text("\n\n".join(part.strip() for part in sections) + "\n")


def set_up(parts):
    """The machine and the versions, of the part that was measured last."""
    latest = max(parts.values(), key=lambda part: part.date)
    rows = "\n".join(f"| {name} | {version} |" for name, version in latest.versions.items())
    return (
        f"{latest.machine}. Servers run on core 0; the load generator, and Redis, on core 1. Loopback, no TLS, "
        f"WebSocket unless said otherwise; arguments of events have 128 bytes, in echoes 64. The gateway has its "
        f"defaults, with [gateway.toml](gateway.toml).\n\n| | version |\n|---|---|\n{rows}"
    )


def when(part):
    """When and of what, and in how many rounds where the part counts them itself."""
    rounds = max((run["round"] for run in part.runs if "round" in run), default=None)
    counted = {None: "", 1: ", 1 round"}.get(rounds, f", {rounds} rounds")
    return f"Measured on {part.date}, Roomcast {part.versions['roomcast']}{counted}."


def the_table(part):
    """A row for each figure: every server's, what Roomcast may cost at most, and how far it is from that, the floor and
    the best peer.
    """
    columns = [FLOOR, ROOMCAST, *PEERS]
    names = ["case", "figure", *(kind.name for kind in columns), "ours, at most", "verdict", "× floor", "× best peer"]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for case in table.CASES:
        found = part.of(case.name)
        for figure in case.figures:
            cells = [cell(found.where(server=kind.name), figure.key, kind is ROOMCAST) for kind in columns]
            lines.append(f"| {' | '.join([case.name, figure.name, *cells, *judged(found, figure)])} |")
    notes = [note for case in table.CASES for note in remarks(case, part.of(case.name))]
    foreign = [seconds for run in part.runs if (seconds := run.get("foreign_seconds")) is not None]
    quiet = (
        f"Other programs on the machine took {amount(statistics.median(foreign))} s of processor time beside a run "
        f"(median; {amount(max(foreign))} s at most)."
    )
    text = "\n".join([*lines, "", *(f"- {note}" for note in notes), f"- {quiet}"])
    return f"## Beside others\n\n{when(part)} The servers take turns.\n\n{text}"


def cell(found, key, is_ours=False, with_range=True):
    """A median and its range."""
    figures = found.all(key)
    if not figures:
        return "failed" if found.failures() else "–"
    median = amount(statistics.median(figures))
    median = f"**{median}**" if is_ours else median
    return (
        median if len(figures) == 1 or not with_range else f"{median} ({amount(min(figures))} – {amount(max(figures))})"
    )


def judged(found, figure):
    """The target, whether it is met, and the ratios to the floor and to the best peer."""
    target = amount(figure.at_most)
    if not found.where(server=ROOMCAST.name).has(figure.key):
        return target, "**not measured**", "", ""
    ours = found.median(figure.key, server=ROOMCAST.name)
    verdict = "met" if ours <= figure.at_most else "**not met**"
    medians = {
        kind: found.median(figure.key, server=kind.name)
        for kind in (FLOOR, *PEERS)
        if found.where(server=kind.name).has(figure.key)
    }
    peers = [median for kind, median in medians.items() if kind is not FLOOR]
    return target, verdict, times(ours, medians.get(FLOOR)), times(ours, min(peers, default=None))


def times(ours, other):
    """How many times the other's figure ours is, where that says anything."""
    return f"{ours / other:.2f}" if other else ""


def remarks(case, found):
    """What the figures of a case do not say: order, losses, failures, and the floor without joined writes."""
    one_write = found.where(server=FLOOR_ONE_WRITE.name)
    figure = case.figures[0]
    if one_write.has(figure.key):
        figures = f"{cell(one_write, figure.key)} ({figure.name})"
        yield f"{case.name}: the floor that writes each delivery by itself: {figures}."
    for server in found.each("server"):
        runs = found.where(server=server)
        received = sum(runs.all("received"))
        for name, what in (("out_of_order", "came out of order"), ("lost", "were lost")):
            count = sum(runs.all(name))
            if count and (server == ROOMCAST.name or count > WORTH_SAYING * received):
                yield f"{case.name}: of {server}'s {received:,} deliveries {count:,} {what} ({count / max(received, 1):.1%})."
        if sum(runs.all("failed")):
            yield f"{case.name}: {sum(runs.all('failed')):,} clients could not connect to {server}."
        for failure in runs.failures():
            yield f"{case.name}, {server}: {failure}."


def section(experiment, part):
    """An experiment: what was done, what came of it in a sentence, and the plot."""
    found = part.of(experiment.name)
    failures = "".join(f"\n\nA round failed: {failure}." for failure in found.failures())
    kept = measured.Findings([run for run in found.runs if "failure" not in run])
    if not kept.runs:
        return f"### {experiment.title}\n\n{experiment.about}{failures or chr(10) * 2 + 'Not measured.'}"
    path = plots.draw(experiment, kept).relative_to(programs.BENCH)
    said = f"**{reading(experiment, kept)}**{failures}"
    return f"### {experiment.title}\n\n{experiment.about}\n\n{said}\n\n![{experiment.title}]({path})"


def reading(experiment, found):
    """The experiment's sentence, unless what it speaks of is missing."""
    try:
        return experiment.reading(found)
    except (statistics.StatisticsError, IndexError, KeyError, ValueError):
        return "Not all of it was measured."
