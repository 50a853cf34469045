"""A drawing of shapes, and axes with round ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """An SVG element: its tag and attributes, the text in it, and what is told of it when it is pointed at."""

    tag: str
    attributes: Mapping[str, str | float]
    text: str = ""
    tip: str = ""


@dataclass
class Drawing:
    """Shapes in a box, sizes in pixels; `title` says what it shows, to those who cannot see it too."""

    width: float
    height: float
    title: str
    shapes: list[Shape] = field(default_factory=list)

    def add(self, tag: str, class_name: str, text: str = "", tip: str = "", **attributes: str | float) -> None:
        """Add a shape; underscores in the names of attributes stand for hyphens, numbers are rounded."""
        told = {name.replace("_", "-"): round(value, 1) if isinstance(value, float) else value
                for name, value in attributes.items()}  # fmt: skip
        self.shapes.append(Shape(tag, {"class": class_name, **told}, text, tip))


@dataclass(frozen=True)
class Scale:
    """From values to places: `low` to `high` become `start` to `end`, evenly or by powers of ten."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def holding(cls, values: Sequence[float], start: float, end: float, logarithmic: bool = False) -> Scale:
        """A scale with a little room around the values."""
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if logarithmic:
            return cls(low / 1.3, high * 1.3, start, end, True)
        room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About so many round values in the range."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            found = [value for value in found if self.low <= value <= self.high]
            return found[:: max(1, math.ceil(len(found) / count))]
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        first = math.ceil(self.low / step)
        return [round(number * step, 10) for number in range(first, math.floor(self.high / step) + 1)]


def draw_axes(drawing: Drawing, x: Scale, y: Scale, x_name: str, y_name: str, x_count: int = 5) -> None:
    """Grid lines across, ticks below, and the names of both axes."""
    for value in y.ticks():
        drawing.add("line", "grid", x1=x.start, x2=x.end, y1=y(value), y2=y(value))
        drawing.add("text", "tick", tick_text(value), x=x.start - 6, y=y(value) + 4, text_anchor="end")
    for value in x.ticks(x_count):
        drawing.add("line", "axis", x1=x(value), x2=x(value), y1=y.start, y2=y.start + 4)
        drawing.add("text", "tick", tick_text(value), x=x(value), y=y.start + 17, text_anchor="middle")
    drawing.add("line", "axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    if x_name:
        drawing.add("text", "name", x_name, x=x.end, y=y.start + 34, text_anchor="end")
    if y_name:
        drawing.add("text", "name", y_name, x=x.start - 36, y=y.end - 8)


def tick_text(value: float) -> str:
    """A short number: thousands as k, millions as M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
