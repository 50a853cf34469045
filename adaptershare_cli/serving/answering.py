"""Questions of several people, each of some tasks about some rows, answered in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.serving.predictor import Predictor
from adaptershare_cli.serving.rows import Question


@dataclass(frozen=True)
class Answered:
    """Of each row by task an answer (`Kind.row_answers`), and by task the rows of which the end was cut off."""

    predictions: list[dict[str, dict[str, Any]]]
    cut: dict[str, list[int]]


class Answerer:
    """Answers questions with a loaded run."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __call__(self, questions: Sequence[Question]) -> list[Answered]:
        """An answer each. Raises what `Predictor.predict_calls` raises."""
        outputs = iter(self.predictor.predict_calls([call for question in questions for call in question.calls]))
        return [self._answered(question, [next(outputs) for _ in question.calls]) for question in questions]

    @staticmethod
    def _answered(question: Question, of_calls: Sequence[dict[str, Any]]) -> Answered:
        found = {task: outputs for outputs_of in of_calls for task, outputs in outputs_of.items()}
        answers = {task: found[task].answers(question.top_k) for task in question.tasks}
        rows = [{task: answers[task][row] for task in question.tasks} for row in range(question.size)]
        return Answered(rows, {task: list(found[task].cut) for task in question.tasks if found[task].cut})
