"""Measures parts of what RESULTS.md shows, or all of it, and writes that page. Run by tests/bench/run."""

import argparse
import signal
import sys

from suite import cluster, growth, machine, measured, programs, table

#: Rounds, unless the command line says otherwise.
ROUNDS = 3


def experiments(these):
    """A part that is made of experiments."""

    def measure(keeper, rounds):
        for turn in range(rounds):
            for experiment in these:
                if turn < experiment.rounds_max:
                    keeper.all(experiment.name, turn, experiment.measure())

    return measure


def printed(name):
    """A part that is a program with a table of its own."""
    return lambda keeper, rounds: keeper.keep_text(name, programs.run_benchmark(name, rounds))


#: By their names on the command line, in the order of the page.
PARTS = {
    "table": table.measure,
    "growth": experiments(growth.EXPERIMENTS),
    "cluster": experiments(cluster.EXPERIMENTS),
    "emits": printed("emits"),
    "forwarding": printed("forwarding"),
}


def main():
    arguments = parse()
    machine.raise_descriptor_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by which the servers are ended, too
    if arguments.short:
        from suite import short

        sys.exit(0 if short.run() else 1)
    from suite import readme, report  # want the plots' packages, that the short version does without

    chosen = [name for name in PARTS if name in (arguments.parts or PARTS)]
    if chosen:
        programs.build_peers()
    for name in chosen:
        keeper = measured.Keeper(name)
        PARTS[name](keeper, arguments.rounds)
        measured.save({**measured.load(), name: keeper.part})
    if not measured.load():
        sys.exit("nothing was measured yet")
    report.write()
    if "table" in measured.load():
        readme.write(measured.load()["table"])
    failures = [run["failure"] for part in measured.load().values() for run in part.runs if "failure" in run]
    print(f"{report.FILE}: {len(failures)} failed measurements", file=sys.stderr)
    sys.exit(1 if failures else 0)


def parse():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    names = [*PARTS, "report"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; report only writes the page")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"[{ROUNDS}]; some experiments take fewer")
    parser.add_argument("--short", action="store_true", help="beside the floor alone, in a minute; writes nothing")
    arguments = parser.parse_args()
    for unknown in set(arguments.parts) - set(names):
        parser.error(f"there is no part {unknown}, only {', '.join(names)}")
    return arguments


main()
