"""The figures in the project's README: a few rows of the table, between two marks.

Never differs from RESULTS.md: both are written from the same figures.
"""

from suite import programs
from suite.report import cell
from suite.servers import PEERS, ROOMCAST

FILE = programs.ROOT / "README.md"
BEGIN = "<!-- from tests/bench/RESULTS.md, by tests/bench/run -->\n"
END = "<!-- until here -->\n"

#: What is shown: the case, its figure, and how the README calls it.
ROWS = (
    ("fan-out, 1 room × 1,000, window 4", "cpu_seconds_per_million", "a delivery in a busy room of 1,000, µs"),
    ("fan-out, 1 room × 10,000, window 4", "cpu_seconds_per_million", "a delivery in a busy room of 10,000, µs"),
    (
        "100 rooms × 100, 10 publishers × window 4",
        "cpu_seconds_per_million",
        "a delivery in a hundred rooms of 100, µs",
    ),
    ("echo with ack, 100 × 16 in flight", "cpu_seconds_per_million", "an event that is answered, µs"),
    ("through Redis, 1,000 on the other node", "b_us_a_delivery", "a delivery of what another node published, µs"),
    ("10,000 idle", "cpu_seconds_per_thousand", "a connect, ms"),
    ("10,000 idle", "bytes_per_client_after_hold", "memory of an idle connection, bytes"),
)


def write(part):
    """Puts the figures of the table's newest run where they belong."""
    columns = (ROOMCAST, *PEERS)
    lines = [f"| | {' | '.join(kind.name for kind in columns)} |", f"|---|{'---|' * len(columns)}"]
    for case, key, name in ROWS:
        found = part.of(case)
        cells = [cell(found.where(server=kind.name), key, kind is ROOMCAST, with_range=False) for kind in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = FILE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    FILE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after)
