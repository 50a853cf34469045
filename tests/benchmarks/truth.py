"""How well every measure of a workspace predicts its measured truth, and the truth itself, as small tables.

    python tests/benchmarks/truth.py --workspace workspace/truth [--csv FOLDER]

A Markdown table a truth: a row a measure (best first by `spearman`), with 95 % intervals, random measures, ceiling and
cost; then what each source does for each target, with its standard error over the seeds. `--csv` writes the scores over
all targets to truth-scores.csv and the truth to truth.csv.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from adaptershare_cli import schemas
from adaptershare_cli.measures import TRUTHS
from adaptershare_cli.reporting.score_table import decimals_of, empty_scores, percentage, rounded

SHOWN = ("spearman", "weighted-kendall", "ndcg", "regret@1", "regret@3", "sign-auc", "pearson")


def artefacts(workspace: Path, table: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """What each correlation artefact with that table says of itself, and the table; older ones first."""
    found = []
    for file in sorted(workspace.glob(f"correlate/[!.]*/{table}.parquet"), key=lambda file: file.stat().st_mtime):
        info = json.loads((file.parent / "artefact.json").read_text(encoding="utf-8"))["info"]
        found.append((info, pd.read_parquet(file)))
    return found


def scores(workspace: Path) -> pd.DataFrame:
    """The scores over all targets (`schemas.SCORES`); of a measure that was judged more than once the newest.

    Empty where nothing was judged.
    """
    found = pd.concat([schemas.SCORES.empty_table().to_pandas(), *(t for _, t in artefacts(workspace, "scores"))])
    return found[found["target"].isna()].drop_duplicates(["against", "measure", "score"], keep="last")


def truth(workspace: Path) -> pd.DataFrame:
    """What each source does for each target, in points of the target's main metric, over all seeds."""
    parts = []
    for info, table in artefacts(workspace, "correlation"):
        if info["measure"] in TRUTHS:
            answer = table[table["seed"].isna() & (table["layer"] == schemas.ALL_LAYERS) & table["value"].notna()]
            parts.append(answer.assign(seeds=len(info["seeds"])))
    columns = ["measure", "source", "target", "value", "standard_error", "seeds"]
    found = pd.concat(parts).drop_duplicates(["measure", "source", "target"], keep="last")[columns]
    found[["value", "standard_error"]] *= 100
    return found


def score_lines(table: pd.DataFrame) -> list[str]:
    """The Markdown table of one truth's scores."""
    names = [name for name in SHOWN if name not in empty_scores(table)]

    def cells(column: pd.Series) -> str:
        return " | ".join(rounded(column[name], decimals_of(name)) for name in names)

    def with_interval(row: pd.Series) -> str:
        value, *ends = (rounded(row[name], decimals_of(row.name)) for name in ("value", "low", "high"))
        return value if pd.isna(row["low"]) else f"{value} [{', '.join(ends)}]"

    values = table.pivot(index="measure", columns="score", values="value")
    lines = [f"| measure | {' | '.join(names)} | p | cost |", f"|---|{'--:|' * (len(names) + 2)}"]
    for measure in values.sort_values("spearman", ascending=False, na_position="last").index:
        rows = table[table["measure"] == measure].set_index("score")
        last = f"{rounded(rows['p_value']['pearson'], 3)} | {percentage(rows['cost_share']['pearson'])}"
        lines.append(f"| `{measure}` | {' | '.join(with_interval(rows.loc[name]) for name in names)} | {last} |")
    lines.append(f"| *random* | {cells(table.groupby('score')['null_mean'].mean())} | | |")
    lines.append(f"| *ceiling* | {cells(table.drop_duplicates('score').set_index('score')['ceiling'])} | | |")
    return lines


def truth_lines(table: pd.DataFrame) -> list[str]:
    """The Markdown table of one truth: a row a source, a column a target."""
    tasks = list(dict.fromkeys(table["source"]))
    cell = {(row.source, row.target): f"{row.value:+.1f} ± {row.standard_error:.1f}" for row in table.itertuples()}
    lines = [f"| source \\ target | {' | '.join(tasks)} |", f"|---|{'--:|' * len(tasks)}"]
    return [*lines, *(f"| {a} | {' | '.join(cell.get((a, b), '') for b in tasks)} |" for a in tasks)]


def main() -> None:
    """Print the tables, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--csv", type=Path, help="folder to write truth-scores.csv and truth.csv into")
    options = parser.parse_args()
    judged = scores(options.workspace)
    if judged.empty:
        parser.error(f"{options.workspace} has no scores: run `correlate --against transfer` there first")
    measured = truth(options.workspace)
    for against, table in judged.groupby("against", sort=False):
        gains = measured[measured["measure"] == against]
        print(f"\n{against}\n", *score_lines(table), "", *truth_lines(gains), sep="\n")
    if options.csv:
        judged.drop(columns="target").round(4).to_csv(options.csv / "truth-scores.csv", index=False)
        measured.round(3).to_csv(options.csv / "truth.csv", index=False)


if __name__ == "__main__":
    main()
