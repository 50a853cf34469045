"""Curves over the updates of runs: a small chart a task, a line a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from adaptershare_cli.reporting.charts.drawing import Drawing, Scale, draw_axes

Curve = Sequence[tuple[int, float]]
COLOURS = 8  # lines of later methods are dashed


def mean_curve(curves: Sequence[Curve]) -> list[tuple[int, float]]:
    """The mean over seeds at the updates that all of them have."""
    if not curves:
        return []
    by_step = [dict(curve) for curve in curves]
    common = sorted(set.intersection(*(set(curve) for curve in by_step)))
    return [(step, fmean(curve[step] for curve in by_step)) for step in common]


def curve_charts(
    curves: Mapping[str, Mapping[str, Curve]], methods: Sequence[str], y_name: str
) -> list[tuple[str, Drawing]]:
    """For each task of `curves` (by task and method) its chart; a task without a line has none."""
    charts = []
    for task, by_method in curves.items():
        lines = {method: curve for method, curve in by_method.items() if curve}
        if not lines:
            continue
        steps, values = ([point[place] for curve in lines.values() for point in curve] for place in (0, 1))
        ends = "; ".join(f"{method} from {curve[0][1]:.3g} to {curve[-1][1]:.3g}" for method, curve in lines.items())
        drawing = Drawing(300, 190, f"{task}, {y_name} over updates: {ends}")
        x, y = Scale(min(0.0, *steps), max(1.0, *steps), 46, 290), Scale.holding(values, 150, 24)
        draw_axes(drawing, x, y, "update", y_name, 4)
        for method, curve in lines.items():
            _line(drawing, x, y, curve, methods.index(method), method)
        charts.append((task, drawing))
    return charts


def _line(drawing: Drawing, x: Scale, y: Scale, curve: Curve, number: int, method: str) -> None:
    name = line_class(number)
    if len(curve) == 1:
        drawing.add("circle", f"{name} single", tip=method, cx=x(curve[0][0]), cy=y(curve[0][1]), r=3)
        return
    points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve)
    drawing.add("polyline", name, tip=method, points=points)


def line_class(number: int) -> str:
    """The class of the line of the method in that place."""
    return f"curve c{number % COLOURS}" + (" dashed" if number // COLOURS % 2 else "")
