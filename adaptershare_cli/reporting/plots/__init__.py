"""Pictures as PNG and SVG: a correlation, a sharing plan over its layers and steps, a measure against the truth.

Each function takes values and the path without its ending, and returns the paths of both files. The same values give
the same bytes.
"""

from adaptershare_cli.reporting.plots.heatmap import heat_map
from adaptershare_cli.reporting.plots.scatter import scatter_picture
from adaptershare_cli.reporting.plots.sharing import sharing_picture

__all__ = ["heat_map", "scatter_picture", "sharing_picture"]
