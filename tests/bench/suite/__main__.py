"""Measures parts of what RESULTS.md shows, or all of it, and writes that page. Run by tests/bench/run."""

import argparse
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
    if arguments.short:
        from suite import short

        sys.exit(0 if short.run() else 1)
    from suite import report  # wants the plots' packages, which the short version does without

    chosen = arguments.parts or list(PARTS)
    if chosen != ["report"]:
        programs.build_peers()
        for name in chosen:
            keeper = measured.Keeper(name)
            PARTS[name](keeper, arguments.rounds)
            measured.save({**measured.load(), name: keeper.part})
            report.write()
    report.write()
    failures = [run["failure"] for part in measured.load().values() for run in part.runs if "failure" in run]
    print(f"{report.FILE}: {len(failures)} failed measurements", file=sys.stderr)
    sys.exit(1 if failures else 0)


def parse():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, "report", []], help=f"of {', '.join(PARTS)}; or report, which only writes the page")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"[{ROUNDS}]; some experiments take fewer")
    parser.add_argument("--short", action="store_true", help="beside the floor alone, in a minute; writes nothing")
    return parser.parse_args()


main()
