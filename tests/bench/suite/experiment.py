"""An experiment: what is varied, how it is measured, how it is drawn, and in what sentence it is read."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """Figures of one name, and what they are called."""

    key: str
    name: str
    logarithmic: bool = False


@dataclass(frozen=True)
class Lines:
    """A plot of figures against a number, in a panel each; `by` names what tells the lines of a panel apart."""

    x: Axis
    y: tuple
    by: str | None = None


@dataclass(frozen=True)
class Bars:
    """A plot of figures beside each other, in a panel each: a group of bars for each value under `x`, a bar for each
    `by`.
    """

    x: str
    y: tuple
    by: str | None = None


@dataclass
class Experiment:
    """Measured by a generator of (labels, figures), drawn as a plot, read by a function of what was found."""

    name: str
    title: str
    about: str
    measure: Callable
    plot: Lines | Bars
    rounds_max: int
    reading: Callable = lambda found: ""

    def reads(self, reading):
        """The sentence, which speaks by the figures that were found."""
        self.reading = reading
        return reading


def experiment(title, plot, rounds_max=3):
    """Makes an experiment of a generator, whose description is the experiment's."""

    def make(measure):
        return Experiment(measure.__name__, title, inspect.cleandoc(measure.__doc__), measure, plot, rounds_max)

    return make


def amount(number):
    """A number as people read it: three digits say enough."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def between(numbers, unit):
    """The least and the most of what was found."""
    least, most = amount(min(numbers)), amount(max(numbers))
    return f"{least} {unit}" if least == most else f"between {least} and {most} {unit}"
