"""Charts as shapes that a template writes as SVG into a page: they take its colours, by day and by night.

`plots` draws pictures that are files of their own; these are parts of a page, small and without matplotlib.
"""

from adaptershare_cli.reporting.charts.curves import curve_charts
from adaptershare_cli.reporting.charts.drawing import Drawing, Shape
from adaptershare_cli.reporting.charts.plan import plan_drawing
from adaptershare_cli.reporting.charts.points import confusion_points, cost_drawing, pareto_front

__all__ = ["Drawing", "Shape", "confusion_points", "cost_drawing", "curve_charts", "pareto_front", "plan_drawing"]
