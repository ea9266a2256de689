"""This machine: what it is, and what its system says of the programs on it.

Never asks a program for a figure that the system knows: that would cost what is being measured.
"""

import os
import platform
import resource
import subprocess
from pathlib import Path

#: Servers run on the one core, the load generator (and Redis) on the other, so that neither takes what the other needs.
SERVERS_CORE = {0}
GENERATOR_CORE = {1}
BOTH_CORES = SERVERS_CORE | GENERATOR_CORE

#: Sockets of one process: what descriptors are needed for beside them is little.
SPARE_DESCRIPTORS = 1_000

TICKS = os.sysconf("SC_CLK_TCK")


def raise_descriptor_limit():
    """Takes as many descriptors as it may; all programs that are started inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sockets_max():
    """How many clients one process can have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS


def processor_seconds(pid):
    """What a process has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid):
    """What a process holds of this machine's memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (resident,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(resident) * 1024


def busy_seconds():
    """What all cores have done so far, for whomever, and what other machines have taken away from them."""
    _, user, nice, system, _, _, interrupts, softirqs, stolen, *_ = Path("/proc/stat").read_text().split(maxsplit=10)
    return sum(map(int, (user, nice, system, interrupts, softirqs, stolen))) / TICKS


def children_seconds():
    """What those of our programs have used that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def description():
    """The machine in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    gibibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} × {model}, {gibibytes:.0f} GiB, {platform.system()} {platform.release()}"


def output(*command):
    """What a program says."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
