"""What requests and responses hold, as pydantic models: one is read by them, both are documented by them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, WithJsonSchema

TEXT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
ROW = {
    "type": "object",
    "properties": {"text": TEXT, "text_pair": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
# What rows may be depends on the tasks, so `asking` checks them: its messages name the row and the task.
Texts = Annotated[list[Any], WithJsonSchema({"type": "array", "items": TEXT})]
TextRows = Annotated[list[Any], WithJsonSchema({"type": "array", "items": ROW})]


class PredictBody(BaseModel):
    """Texts, or rows of a text or a pair of texts, and the tasks that are to answer each of them."""

    model_config = ConfigDict(extra="forbid")

    texts: Texts | None = Field(None, description="Texts; of words also lists of words.")
    rows: TextRows | None = Field(None, description="Rows instead of texts, for tasks that read pairs.")
    task: StrictStr | list[StrictStr] = Field("all", description="A task, several, or `all`.")
    top_k: Annotated[StrictInt, Field(ge=1)] | None = Field(
        None, description="Give the best so many labels with their probabilities, instead of each label's."
    )


class Fault(BaseModel):
    """What is wrong, where, and what to do."""

    what: str
    where: str
    fix: str


class ErrorBody(BaseModel):
    """The response to a request that is refused."""

    error: Fault


class PredictResponse(BaseModel):
    """Answers, with the fields that `adaptershare predict` writes as columns `TASK.FIELD`."""

    run: str
    predictions: list[dict[str, dict[str, Any]]] = Field(description="Of each row, by task, the fields of its answer.")
    cut: dict[str, list[int]] = Field(description="By task the rows (from 0) of which the beginning alone was read.")


class Shared(BaseModel):
    """With which tasks a task shares its adapter in some layers."""

    first_layer: int
    last_layer: int
    tasks: list[str]


class TaskScore(BaseModel):
    """The main metric on a scored split."""

    metric: str
    split: str
    value: float | None
    rows: int


class TaskBody(BaseModel):
    """What is known of a task."""

    task: str
    kind: str
    labels: list[str]
    range: tuple[float, float] | None = Field(description="Of scores: the range that labels have.")
    columns: list[str] = Field(description="What a row has for it.")
    pairs: bool | None = Field(description="Whether it reads pairs of texts; null where the run does not say.")
    max_seq_length: int = Field(description="Tokens of a row that are read.")
    partners: list[Shared]
    scores: list[TaskScore]


class TasksResponse(BaseModel):
    """The tasks that are served."""

    run: str
    tasks: list[TaskBody]


class HealthResponse(BaseModel):
    """Whether questions are answered."""

    status: str
    waiting_rows: int
