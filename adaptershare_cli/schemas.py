"""The Arrow schema of every Parquet file that a stage publishes; for rows and predictions see `kinds` too.

Each file is readable with pandas alone. A column's meaning and unit stand in the comment beside it. When a
schema changes, the code version of the stage that writes it is raised (`workspace.CODE_VERSIONS`).
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

ALL_LAYERS = -1  # the value of `layer` in rows that summarise over all layers


REJECTED = pa.schema(
    [
        ("split", pa.string()),
        ("file", pa.string()),  # relative to the source's folder, or the hub path
        ("row", pa.int64()),  # 1-based line of the file (or row of a Parquet or hub split)
        ("column", pa.string()),
        ("value", pa.string()),  # at most 200 characters
        ("reason", pa.string()),
    ]
)


# What prepared rows of every kind of task begin with; a kind adds what training learns from (`Kind.prepared_schema`).
TOKENISED = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # `row` of the downloaded split
        pa.field("content", pa.string(), nullable=False),  # hash of the normalised texts, 32 hex digits
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("token_type_ids", pa.list_(pa.int8())),  # null where the encoder knows no segments
        pa.field("length", pa.int32(), nullable=False),  # tokens, special ones included
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)

STEPS = pa.schema(
    [
        ("phase", pa.string()),
        ("step", pa.int64()),  # 1-based update within the phase
        ("task", pa.string()),
        ("rows", pa.int64()),
        ("loss", pa.float64()),  # mean over the rows of the batch (of a tagging row: mean over its words)
        ("learning_rate", pa.float64()),
        ("grad_norm", pa.float64()),  # before clipping
        ("skipped", pa.bool_()),  # loss or gradient was not finite, so nothing was changed (--on-nonfinite skip)
    ]
)

METRICS = pa.schema(
    [
        ("task", pa.string()),
        ("split", pa.string()),  # "select", or a scored split
        ("phase", pa.string()),
        ("step", pa.int64()),  # updates done when scored
        ("metric", pa.string()),
        ("value", pa.float64()),  # null where the metric is undefined
        ("rows", pa.int64()),  # of a tagging: sentences
        ("main", pa.bool_()),  # the task's first metric: averages and selections use it
        ("final", pa.bool_()),  # scored with the exported weights, in fp32
    ]
)

# A kind of task may have a table of its own instead (`Kind.predictions_schema`).
PREDICTIONS = pa.schema(
    [
        ("task", pa.string()),
        ("split", pa.string()),
        ("row", pa.int64()),  # `row` of the downloaded split
        ("label", pa.string()),  # gold label's name, or the score as text
        ("prediction", pa.string()),
        ("logits", pa.list_(pa.float32())),  # head outputs before softmax; one value for a regression
    ]
)

SHARING = pa.schema(
    [
        ("phase", pa.string()),
        ("step", pa.int64()),  # the plan that holds from this update on; step 0 is the start
        ("layer", pa.int64()),
        ("task", pa.string()),
        ("group", pa.int64()),  # groups of a layer are numbered by their first task
    ]
)

INTERFERENCE = pa.schema(
    [
        ("phase", pa.string()),
        ("step", pa.int64()),
        ("layer", pa.int64()),
        ("task_a", pa.string()),
        ("task_b", pa.string()),  # task_a stands before task_b in the run's task order
        ("dot", pa.float64()),  # of the tasks' gradients as they are, as are the norms and the directed columns
        ("norm_a", pa.float64()),
        ("norm_b", pa.float64()),
        ("cosine", pa.float64()),  # of unit-row gradients unless --row-gradients raw; null if one is zero or not finite
        ("cosine_error", pa.float64()),  # standard error over the held-out rows of both tasks
        ("directed_ab", pa.float64()),  # g_a . g_b / |g_b|^2: what a step on task_a does for b, in steps on b itself
        ("directed_ba", pa.float64()),  # g_a . g_b / |g_a|^2
        ("agreement_a", pa.float64()),  # cosine between the gradients of task_a's two held-out halves
        ("agreement_b", pa.float64()),
        ("shared", pa.bool_()),  # did the two share the adapter when the check was made?
        ("decision", pa.string()),  # observe | keep | guard | budget | split (they part here)
        ("p_value", pa.float64()),  # of --rule significance: that they conflict no more than max_interference
    ]
)

EMBEDDINGS = pa.schema(
    [
        ("task", pa.string()),
        ("embedding", pa.list_(pa.float32())),  # what HyperFormer's generators read, as at the end of the run
    ]
)

LOOKAHEAD = pa.schema(
    [
        ("phase", pa.string()),
        ("step", pa.int64()),  # updates done when it was tried
        ("source", pa.string()),  # the task whose step was tried
        ("target", pa.string()),  # the task whose loss was taken; the source itself is among them
        ("half", pa.int64()),  # the half of the source's held-out rows that gave the step; losses are of the other
        ("loss_before", pa.float64()),  # mean over the target's other half; null if it has none
        ("loss_after", pa.float64()),
    ]
)

ATTENTION = pa.schema(
    [
        ("task", pa.string()),  # the target: whose select rows were looked at
        ("layer", pa.int64()),
        ("location", pa.string()),  # of the adapters in the layer: output_adapter, mh_adapter
        ("adapter", pa.string()),  # named by the first task (or folder) that it belongs to
        ("members", pa.list_(pa.string())),  # all tasks (or folders) that it belongs to
        ("attention", pa.float64()),  # 0..1: mean over a row's tokens, then over the rows
        ("rows", pa.int64()),
    ]
)

MASKS = pa.schema(
    [
        ("task", pa.string()),
        ("layer", pa.int64()),
        ("tensor", pa.string()),  # layer.location.parameter of an adapter, or the name in the encoder
        ("shape", pa.list_(pa.int64())),
        ("weights", pa.int64()),
        ("kept", pa.int64()),  # weights that the task uses
        ("rate", pa.float64()),  # kept / weights
        # A bit a weight, row by row, 1 is kept; of a byte the highest bit first (numpy.packbits).
        ("bits", pa.binary()),
        ("start", pa.string()),  # SHA-256 of the weights that every round, and joint training, began with
    ]
)

PRUNING = pa.schema(
    [
        ("task", pa.string()),
        ("round", pa.int64()),  # rounds of pruning behind the mask; 0 keeps everything
        ("weights", pa.int64()),
        ("kept", pa.int64()),
        ("rate", pa.float64()),
        ("step", pa.int64()),  # the step whose weights were scored, and then pruned by; null if it was not trained
        ("metric", pa.string()),
        ("value", pa.float64()),  # on select rows, trained alone with this mask; null if undefined or not trained
        ("start_overlap", pa.float64()),  # |and| / |or| with the mask that the start's weights alone would give
        ("chosen", pa.bool_()),  # the task's mask in joint training
    ]
)


@dataclass(frozen=True)
class RunTable:
    """A table that runs publish, and what to say where a measure needs it and a run has none.

    One that is made after the last update (`at_the_end`) does not stand in checkpoints. `lacks` says what is missing,
    `advice` how to get a run that has it.
    """

    schema: pa.Schema
    at_the_end: bool = False
    lacks: str = ""
    advice: str = ""


# What a plan search proposed, a row a round.
SEARCH = pa.schema(
    [
        ("round", pa.int64()),  # 1-based
        ("plan", pa.list_(pa.list_(pa.string()))),  # the groups that were proposed, for all layers
        ("predicted", pa.float64()),  # mean over the tasks of the gain over being alone, as far as it was not measured
        ("trained", pa.list_(pa.list_(pa.string()))),  # the groups that were trained for it
        ("spent", pa.int64()),  # task trainings so far
    ]
)

# How much each source may help each target, by the measure that a plan search goes by.
RELATION = pa.schema([("source", pa.string()), ("target", pa.string()), ("value", pa.float64())])

# What each task's main metric is on either half of its select rows, for several runs, by their number in a list.
HALVES = pa.schema(
    [("run", pa.int64()), ("task", pa.string()), ("first", pa.float64()), ("second", pa.float64())],
)

# What each task's main metric on select rows is in each group that a plan search trained (single tasks are groups too).
GROUPS = pa.schema(
    [
        ("group", pa.list_(pa.string())),
        ("task", pa.string()),
        ("alone", pa.float64()),  # the main metric of the task trained alone
        ("value", pa.float64()),  # in the group
        # In the group and alone on one half of the select rows, and on the other half.
        ("first_alone", pa.float64()),
        ("first_value", pa.float64()),
        ("second_alone", pa.float64()),
        ("second_value", pa.float64()),
        ("chosen", pa.bool_()),  # the group is one of the plan that was kept
        ("layers", pa.string()),  # in which the group shares: all | lower | upper (half of them)
        ("run", pa.string()),  # label of the artefact
    ]
)


# What each task of a run of `shared-then-private` had to choose from.
CHOICES = pa.schema(
    [
        ("task", pa.string()),
        ("choice", pa.string()),  # shared | further (from there on alone) | alone (from the start)
        ("value", pa.float64()),  # the task's main metric on select rows
        ("chosen", pa.bool_()),
        ("run", pa.string()),  # label of the artefact
    ]
)

# What each task's main metric on select rows is with the merged adapter of each group that was tried, single tasks too.
MERGES = pa.schema(
    [
        ("group", pa.list_(pa.string())),
        ("task", pa.string()),
        ("alone", pa.float64()),  # with its own adapter
        ("value", pa.float64()),  # with the group's
        ("chosen", pa.bool_()),  # the group is one of those that were merged in the end
    ]
)

# How much each layer conflicted in the first stage of a run of `recon`.
CONFLICTS = pa.schema(
    [
        ("layer", pa.int64()),
        ("score", pa.float64()),  # share of the cosines of pairs at checks below --recon-threshold
        ("mean", pa.float64()),  # of all those cosines
        ("cosines", pa.int64()),  # how many there are
        ("private", pa.bool_()),  # the layer became each task's own
    ]
)


# What a run publishes, a file a table, beside its predictions (`kinds.prediction_tables`).
RUN_TABLES = {
    "steps": RunTable(STEPS),
    "metrics": RunTable(METRICS),
    "sharing": RunTable(SHARING, lacks="plans", advice="Name a joint run of a method under a plan."),
    "interference": RunTable(
        INTERFERENCE,
        lacks="checks",
        advice="Train longer, with a smaller --check-every, without --no-observe (adapterfusion has none).",
    ),
    "embeddings": RunTable(
        EMBEDDINGS, at_the_end=True, lacks="task embeddings", advice="Name a run of --method hyperformer."
    ),
    "lookahead": RunTable(
        LOOKAHEAD, lacks="look-aheads", advice="Train it with --lookahead-every, smaller than its updates."
    ),
    "attention": RunTable(
        ATTENTION,
        at_the_end=True,
        lacks="attention",
        advice="Name a run of --method adapterfusion, or of adaptershare with --fuse.",
    ),
    "masks": RunTable(MASKS, at_the_end=True, lacks="masks", advice="Name a run of --method sparse-sharing."),
    "pruning": RunTable(PRUNING),
    "search": RunTable(SEARCH),
    "groups": RunTable(GROUPS, lacks="groups", advice="Name a run of --method plan-search."),
    "choices": RunTable(CHOICES),
    "merges": RunTable(MERGES),
    "conflicts": RunTable(CONFLICTS),
}

# How one task relates to another by one measure. A symmetric measure holds both orders of each pair; of a directed one
# the source is what helps (a matrix's row), the target what is helped (its column).
CORRELATION = pa.schema(
    [
        ("measure", pa.string()),
        ("layer", pa.int64()),  # -1: over all layers
        ("seed", pa.int64()),  # null: the answer, over all seeds; else one seed's part of it
        ("source", pa.string()),
        ("target", pa.string()),
        ("value", pa.float64()),  # null where unknown
        ("checks", pa.int64()),  # checks (or look-aheads) behind the value; null for a measure that has none
        ("standard_error", pa.float64()),  # over checks; of several seeds' mean over the seeds; null for fewer than two
        ("null_mean", pa.float64()),  # the same value under permuted task names
        ("null_upper", pa.float64()),  # its 95th percentile
        ("p_value", pa.float64()),  # share of permutations at least as high
    ]
)

# What plans are worth with seeds that chose nothing (`correlate --verdict`): a row a plan, seed and task.
PLANS = pa.schema(
    [
        ("plan", pa.list_(pa.list_(pa.string()))),  # its groups, the same in all layers
        # chosen | shared | private | same sizes | any sizes: why it was trained; the first two may be the chosen one
        ("role", pa.string()),
        ("seed", pa.int64()),
        ("task", pa.string()),
        ("value", pa.float64()),  # the main metric, the mean over the task's scored splits
    ]
)

SCORES = pa.schema(
    [
        ("measure", pa.string()),
        ("against", pa.string()),  # the truth: transfer | pair
        ("target", pa.string()),  # null: mean over the targets that have the score, or (pearson) the whole matrix
        ("score", pa.string()),  # as `statistics.scores.SCORES`; regret@k is in the truth's unit
        ("value", pa.float64()),  # null where undefined
        ("low", pa.float64()),  # 95 % bootstrap interval over targets and seeds (of one target: over seeds)
        ("high", pa.float64()),
        ("null_mean", pa.float64()),  # the same score for random measures: this one with its tasks permuted
        ("null_low", pa.float64()),  # 95 % of the random measures
        ("null_high", pa.float64()),
        ("p_value", pa.float64()),  # share of random measures at least as good; of pearson Mantel's
        ("ceiling", pa.float64()),  # what one half of the truth's seeds scores against the other; null for one seed
        ("ceiling_upper", pa.float64()),  # expected of a measure without noise (Spearman-Brown); correlations only
        ("targets", pa.int64()),  # targets that have the score
        ("pairs", pa.int64()),  # cells that measure and truth both know
        ("cost_share", pa.float64()),  # examples processed, divided by those of brute force
    ]
)

SELECTION = pa.schema(
    [
        ("target", pa.string()),
        ("procedure", pa.string()),  # trial | threshold | fg | random-rows | none | all | random
        ("rule", pa.string()),  # what decided, such as "strict" or "at least 0.42"; null for the baselines
        ("step", pa.int64()),  # 0-based, in the order of the runs of a procedure
        ("auxiliaries", pa.list_(pa.string())),  # the set that is trained along with the target, in the measure's order
        ("values", pa.list_(pa.float64())),  # the measure from each auxiliary to the target; null for the baselines
        ("score", pa.float64()),  # target's main metric on select rows, at the best evaluation; null if not run
        ("last", pa.float64()),  # the same at the last evaluation
        ("chosen", pa.bool_()),
        # The same on its scored splits at the end, a seed an entry; decides nothing.
        ("scored", pa.list_(pa.float64())),
        ("task", pa.string()),  # of fg and random-rows: the auxiliary whose rows follow; one row an auxiliary
        ("threshold", pa.float64()),  # of fg: the least tau of its rows that are kept
        ("available", pa.int64()),  # its train rows
        ("rows", pa.list_(pa.int64())),  # those kept (`row` of the downloaded split), in file order
    ]
)

# mask-overlap: what masks have in common, beside chance.
OVERLAP = pa.schema(
    [
        ("seed", pa.int64()),
        ("layer", pa.int64()),  # -1: over all layers
        ("tasks", pa.list_(pa.string())),  # a pair, or all tasks
        ("all_tasks", pa.bool_()),
        ("weights", pa.int64()),
        ("intersection", pa.int64()),  # weights that all of the tasks use
        ("union", pa.int64()),  # weights that any of them uses
        ("ratio", pa.float64()),  # intersection / union; null if none is used
        ("expected", pa.float64()),  # of independent random masks of the same rates: two have pq / (p + q - pq)
        ("expected_by_layer", pa.float64()),  # the same with each layer's rates; differs over all layers only
    ]
)

# gradts-instance: how each train row of a source looks to a target.
INSTANCES = pa.schema(
    [
        ("seed", pa.int64()),
        ("source", pa.string()),
        ("row", pa.int64()),  # `row` of the source's downloaded train split
        ("target", pa.string()),
        ("tau", pa.float64()),  # Kendall's tau-b of the row's head importances with the target's; null if undefined
    ]
)

RESULTS = pa.schema(
    [
        ("comparison", pa.string()),  # runs with the same value may be compared
        ("run", pa.string()),  # the run's name, that of its folder
        ("method", pa.string()),
        ("key", pa.string()),  # the same for all seeds of a run's settings, with the settings in which runs differ
        ("seed", pa.int64()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("main", pa.bool_()),
        ("degenerate", pa.string()),  # how the predictions tell nothing of the rows, such as "always yes"; else null
        ("constant", pa.float64()),  # the metric of one prediction for all rows; null if undefined or not known
        ("trained_parameters", pa.int64()),  # of the run, heads included (`methods.counting`; null in older runs)
        ("stored_parameters", pa.int64()),  # of the run: to serve all its tasks, heads included
        ("trained_share", pa.float64()),  # trained / tasks / parameters of the encoder, without heads
        ("task_parameters", pa.int64()),  # in the exported folder of this row's task, head included
        ("inference_cost", pa.float64()),  # multiply-adds of an example of the task / those of the bare encoder
        ("seconds", pa.float64()),
    ]
)
