"""Points: score against cost with the methods that nothing beats, and predictions against labels."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from adaptershare_cli.reporting.charts.drawing import Drawing, Scale, draw_axes
from adaptershare_cli.reporting.tables import Row

LOGARITHMIC_FROM = 8  # times: costs that differ by as much stand on a logarithmic axis
SIDE = 320


def letter(number: int) -> str:
    """A, B, …, Z, A2, …: short names for points."""
    times, place = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(times + 1) if times else "")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points (cost, score) that no other beats: none has less cost and no less score, or as much
    cost and more score. In the order of their costs."""
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    front: list[int] = []
    for place in order:
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front


def cost_drawing(rows: Sequence[Row]) -> tuple[Drawing, list[tuple[str, str]]] | None:
    """Average score against trained parameters, and the letters of the methods; None for fewer than two points.

    Methods without an average, or whose parameters are not known, are left out.
    """
    shown = [row for row in rows if row.average.mean is not None and row.parameters]
    if len(shown) < 2:
        return None
    points = [(float(row.parameters or 0), float(row.average.mean or 0.0)) for row in shown]
    costs, scores = zip(*points, strict=True)
    spreads = [row.average.deviation or 0.0 for row in shown]
    ends = [end for score, spread in zip(scores, spreads, strict=True) for end in (score - spread, score + spread)]
    drawing = Drawing(560, 330, "Average score against trained parameters: " + "; ".join(
        f"{row.label} {row.average.text} with {row.parameters:,.0f}" for row in shown))  # fmt: skip
    x = Scale.holding(costs, 60, 540, max(costs) > LOGARITHMIC_FROM * min(costs))
    y = Scale.holding(ends, 280, 30)
    draw_axes(drawing, x, y, "trained parameters", "average score")
    front = pareto_front(points)
    path = " ".join(f"{x(points[place][0]):.1f},{y(points[place][1]):.1f}" for place in front)
    drawing.add("polyline", "front", points=path)
    legend = []
    for number, (row, (cost, score), spread) in enumerate(zip(shown, points, spreads, strict=True)):
        at_front = number in front
        if spread:
            drawing.add("line", "spread", x1=x(cost), x2=x(cost), y1=y(score - spread), y2=y(score + spread))
        tip = f"{row.label}: {row.average.text}, {row.parameters:,.0f} parameters"
        drawing.add("circle", "point front-point" if at_front else "point", tip=tip, cx=x(cost), cy=y(score), r=11)
        drawing.add("text", "letter", letter(number), x=x(cost), y=y(score) + 4.5, text_anchor="middle")
        legend.append((letter(number), tip + (" (nothing beats it)" if at_front else "")))
    return drawing, legend


def confusion_points(labels: Sequence[float], predictions: Sequence[float], title: str) -> Drawing:
    """Predictions against labels, with the line on which they are equal."""
    drawing = Drawing(SIDE + 60, SIDE + 30, title)
    both = [*labels, *predictions]
    x, y = Scale.holding(both, 50, SIDE + 40), Scale.holding(both, SIDE - 10, 25)
    draw_axes(drawing, x, y, "label", "prediction")
    low, high = max(x.low, y.low), min(x.high, y.high)
    drawing.add("line", "equal", x1=x(low), y1=y(low), x2=x(high), y2=y(high))
    for label, prediction in zip(labels, predictions, strict=True):
        drawing.add("circle", "dot", cx=x(label), cy=y(prediction), r=3)
    return drawing
