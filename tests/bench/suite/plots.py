"""Plots of experiments, as SVG files beside RESULTS.md. The same figures make the same file."""

import statistics

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "roomcast",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.axisbelow": True,
    }
)

from matplotlib import pyplot
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from suite import programs
from suite.experiment import Bars, Lines, amount

FOLDER = programs.BENCH / "plots"

#: Inches of a panel.
WIDTH, HEIGHT = 4.2, 3.0

#: For those who tell colours apart badly, too.
COLOURS = ("#0b6fb8", "#e08214", "#3a9e5c", "#8c5aa8", "#666666", "#c43c39")


def draw(experiment, found):
    """Draws what was found, and says in which file."""
    panels = experiment.plot.y
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(WIDTH * len(panels), HEIGHT), squeeze=False, layout="constrained"
    )
    draw_panel = {Lines: lines, Bars: bars}[type(experiment.plot)]
    for panel, axis in zip(axes[0], panels):
        panel.set_title(axis.name, loc="left", fontsize=10)
        draw_panel(panel, experiment.plot, axis, found)
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{experiment.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def lines(panel, plot, axis, found):
    """Medians as a line, and the range of all rounds around it."""
    series = found.each(plot.by) if plot.by else [None]
    for name, colour in zip(series, COLOURS):
        these = found.where(**{plot.by: name}) if plot.by else found
        places = [x for x in these.each(plot.x.key) if these.where(**{plot.x.key: x}).has(axis.key)]
        figures = [these.where(**{plot.x.key: x}).all(axis.key) for x in places]
        panel.plot(places, [statistics.median(each) for each in figures], "o-", color=colour, label=name, markersize=4)
        panel.fill_between(
            places,
            [min(each) for each in figures],
            [max(each) for each in figures],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
    if plot.x.logarithmic:
        panel.set_xscale("log")
    else:
        panel.xaxis.set_major_locator(FixedLocator(found.each(plot.x.key)))
    if axis.logarithmic:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        panel.set_ylim(bottom=0)
    for ticks in (panel.xaxis, panel.yaxis):
        ticks.set_major_formatter(FuncFormatter(lambda number, _: amount(number)))
        ticks.set_minor_formatter(NullFormatter())
    panel.set_xlabel(plot.x.name)
    if plot.by:
        panel.legend(frameon=False)


def bars(panel, plot, axis, found):
    """Medians as bars with their figures, and the range of all rounds as a whisker."""
    groups = [group for group in found.each(plot.x) if found.where(**{plot.x: group}).has(axis.key)]
    series = found.each(plot.by) if plot.by else [None]
    width = 0.8 / len(series)
    for turn, (name, colour) in enumerate(zip(series, COLOURS)):
        these = found.where(**{plot.by: name}) if plot.by else found
        figures = [these.where(**{plot.x: group}).all(axis.key) for group in groups]
        heights = [statistics.median(each) for each in figures]
        below = [height - min(each) for height, each in zip(heights, figures)]
        above = [max(each) - height for height, each in zip(heights, figures)]
        places = [group + (turn - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = panel.bar(
            places,
            heights,
            width * 0.9,
            yerr=[below, above] if any(below + above) else None,
            color=colour,
            label=name,
            ecolor="#333333",
            capsize=2,
        )
        panel.bar_label(drawn, [amount(height) for height in heights], padding=2, fontsize=9)
    panel.set_xticks(range(len(groups)), groups, fontsize=8 if len(groups) > 2 else 10)
    panel.margins(y=0.15)
    panel.set_ylim(bottom=0)
    panel.grid(axis="x", visible=False)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda number, _: amount(number)))
    if plot.by:
        panel.legend(frameon=False)
