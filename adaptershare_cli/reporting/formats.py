"""The tables of comparisons in forms that go elsewhere: LaTeX, CSV, Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from adaptershare_cli.reporting.tables import ComparisonGroup, Shown, shown, to_markdown

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{EN DASH}": "--", "\N{MIDDLE DOT}": r"$\cdot$", "*": r"$^{*}$",
}  # fmt: skip
CSV_COLUMNS = ("comparison", "method", "task", "split", "metric", "mean", "deviation", "seeds", "trained_parameters",
               "stored_parameters", "seconds")  # fmt: skip


def to_latex(groups: Sequence[ComparisonGroup]) -> str:
    """A table a comparison for `booktabs`, the best of each column in bold; names are escaped."""
    return "\n".join(map(_latex, groups))


def _latex(group: ComparisonGroup) -> str:
    headers, rows = shown(group)
    names = [latex_text(name) + (f" [{latex_text(unit)}]" if unit else "") for name, unit in headers]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(group.comparison)}}}",
             rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}", r"\toprule", " & ".join(names) + r" \\",
             r"\midrule"]  # fmt: skip
    lines += [" & ".join(map(_latex_cell, row)) + r" \\" for row in rows]
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        *(f"% {' '.join(note.split())}" for note in group.notes),
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Shown) -> str:
    text = latex_text(cell.text)
    return rf"\textbf{{{text}}}" if cell.best else text


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is, in one line."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def to_csv(groups: Sequence[ComparisonGroup]) -> str:
    """A row a comparison, method and score (times 100), with a header; what is missing or undefined is empty.

    The average over tasks has no task. `results.parquet` has the scores of single seeds.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for group in groups:
        for row in group.rows:
            costs = [row.parameters, row.stored, row.seconds]
            scores = [(column.task, column.split, column.metric, cell)
                      for column, cell in zip(group.columns, row.cells, strict=True)]  # fmt: skip
            for task, split, metric, cell in [*scores, ("", "", "average", row.average)]:
                told = [cell.mean, cell.deviation]
                writer.writerow([group.comparison, row.label, task, split, metric, *told, row.seeds, *costs])
    return stream.getvalue()


def _markdown(groups: Sequence[ComparisonGroup]) -> str:
    return to_markdown(list(groups))


FORMATS: dict[str, Callable[[Sequence[ComparisonGroup]], str]] = {
    "latex": to_latex,
    "csv": to_csv,
    "markdown": _markdown,
}
