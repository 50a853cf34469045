"""How tasks' gradients on one adapter stand to each other. Pure: the rows' inner products in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowIndex:
    """Which task, which of its two halves, which stratum and cluster each held-out row belongs to: (N,) integers.

    There are `tasks` tasks. Rows of one task and `stratum` were drawn among their like (rows of one label), so what
    lies between strata is no noise; without strata a task's rows are one. Rows of one task and `cluster` (copies of
    one text) were drawn together, so they are one of the sample; they are of one stratum and one half. Without clusters
    each row is its own.
    """

    task: np.ndarray
    half: np.ndarray
    tasks: int
    stratum: np.ndarray | None = None
    cluster: np.ndarray | None = None

    def rows(self, task: int) -> np.ndarray:
        """The positions of a task's rows."""
        return np.flatnonzero(self.task == task)

    def sample(self, task: int) -> Sample:
        """The task's rows as a sample."""
        return Sample(self.same_stratum(task), self.same_cluster(task))

    def same_cluster(self, task: int) -> np.ndarray:
        """(n, n) of a task's n rows: which were drawn together."""
        rows = self.rows(task)
        number = np.arange(len(rows)) if self.cluster is None else self.cluster[rows]
        return np.asarray(number[:, None] == number[None, :])

    def same_stratum(self, task: int) -> np.ndarray:
        """(n, n) of a task's n rows: which stand in one stratum. Strata of a single cluster are taken as one together.

        If there is only one such, it is taken with the smallest of the others.
        """
        rows = self.rows(task)
        if self.stratum is None or not len(rows):
            return np.ones((len(rows), len(rows)), bool)
        _, number = np.unique(self.stratum[rows], return_inverse=True)
        drawn = slice(None) if self.cluster is None else np.unique(self.cluster[rows], return_index=True)[1]
        sizes = np.bincount(number[drawn])
        joined = sizes == 1
        if joined.sum() == 1 and len(sizes) > 1:
            joined[np.argmin(np.where(joined, len(rows), sizes))] = True
        number = np.where(joined[number], -1, number)
        return np.asarray(number[:, None] == number[None, :])


@dataclass(frozen=True)
class Sample:
    """A task's n rows as a sample of clusters: which rows stand in one stratum, and in one cluster, both (n, n)."""

    same_stratum: np.ndarray
    same_cluster: np.ndarray

    @property
    def clusters(self) -> float:
        """How many clusters there are."""
        return float((1 / self.same_cluster.sum(1)).sum().round())

    @property
    def strata(self) -> float:
        """How many strata there are: 1 / k summed over a stratum's k rows is 1."""
        return float((1 / self.same_stratum.sum(1)).sum())

    @property
    def residuals(self) -> np.ndarray:
        """(n, n): makes of the rows' values the sums over each row's cluster of what lies beyond its stratum's mean."""
        centre = np.eye(len(self.same_stratum)) - self.same_stratum / self.same_stratum.sum(1, keepdims=True)
        return np.asarray(self.same_cluster @ centre)

    @property
    def weights(self) -> np.ndarray:
        """(n,) for the squares of `residuals`: a cluster counts once, and by k/(k - 1) in a stratum of k clusters."""
        once = 1 / self.same_cluster.sum(1)
        in_stratum = (self.same_stratum @ once).round()
        return np.asarray(once * (in_stratum / np.maximum(in_stratum - 1, 1)))

    @property
    def pairs(self) -> np.ndarray:
        """(n, n) weights of the rows' products: none within a cluster, for which the others of the stratum stand in."""
        rows, together = self.same_stratum.sum(1), self.same_cluster.sum(1)
        weights = np.where(self.same_stratum, (rows / np.maximum(rows - together, 1))[:, None], 1.0)
        weights[self.same_cluster] = 0.0
        return weights


@dataclass(frozen=True)
class Interference:
    """Pairwise relations of T tasks on the adapter of one layer.

    `cosine`, `error`: (T, T); `agreement`: (T,). The interference degree of two tasks is -cosine. A
    cosine is nan (unknown) where one of the gradients is zero or not finite. `error` is the standard error of the
    cosine over the held-out rows; `agreement` the cosine between the gradients of a task's two halves;
    `row_cosine[t]` the cosine of each row of task t with the task's mean gradient.
    """

    cosine: np.ndarray
    error: np.ndarray
    agreement: np.ndarray
    row_cosine: tuple[np.ndarray, ...]


def task_products(gram: np.ndarray, index: RowIndex) -> np.ndarray:
    """Dot products (T, T) of the tasks' gradients g_t; nan for a task with a row that is not finite."""
    gram, finite = _finite_part(gram, index)
    dot = _half_products(gram, index).sum((1, 3))
    return np.where(finite[:, None] & finite[None, :], dot, np.nan)


def interference(gram: np.ndarray, index: RowIndex) -> Interference:
    """Relations between tasks from the inner products (N, N) of their rows' gradients.

    With G[t, h] the mean gradient of half h of task t: g_t = G[t, 1] + G[t, 2] and
    cosine[s, t] = g_s . g_t / (|g_s| |g_t|). Source: AdapterShare (EMNLP 2022), specs section 1.
    """
    gram, finite = _finite_part(gram, index)
    halves = _half_products(gram, index)
    dot = halves.sum((1, 3))
    norm = np.sqrt(np.diagonal(dot).clip(min=0))
    own = np.einsum("tatb->tab", halves)  # (T, 2, 2): a task's halves among themselves
    known = finite & (norm > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.clip(dot / np.outer(norm, norm), -1, 1)
        agreement = np.clip(own[:, 0, 1] / np.sqrt(own[:, 0, 0] * own[:, 1, 1]), -1, 1)
    unknown = ~(known[:, None] & known[None, :])
    cosine[unknown] = np.nan
    agreement[~(finite & np.isfinite(agreement))] = np.nan
    scaled = normalised(gram, index, norm / 2)
    return Interference(
        cosine=cosine,
        error=np.where(unknown, np.nan, standard_errors(scaled, index)),
        agreement=agreement,
        row_cosine=tuple(_row_cosines(gram, index, task, known[task]) for task in range(index.tasks)),
    )


def unit_rows(gram: np.ndarray) -> np.ndarray:
    """Inner products of the rows' gradients scaled to length 1; a row without a gradient stays zero.

    A few rows that a task gets badly wrong have gradients many times longer than the rest; with unit rows each has
    one voice, and a task's mean is as long as its rows agree.
    """
    length = np.sqrt(np.diagonal(gram))
    scale = np.divide(1.0, length, out=np.where(length == 0, 0.0, np.nan), where=(length > 0) & np.isfinite(length))
    return gram * scale[:, None] * scale[None, :]


def normalised(gram: np.ndarray, index: RowIndex, norm: np.ndarray) -> np.ndarray:
    """The Gram matrix with each row divided by the norm (T,) of its task's mean gradient.

    The mean of the block of two tasks is then their cosine (up to the weights of unequal halves). Rows of a task
    whose norm is zero or unknown are nan.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where((norm > 0) & np.isfinite(norm), 1 / norm, np.nan)[index.task]
    return gram * scale[:, None] * scale[None, :]


def standard_errors(kernel: np.ndarray, index: RowIndex) -> np.ndarray:
    """Standard error (T, T) of the mean of each block of `kernel` (N, N) when rows of both tasks are a sample.

    Two-way random effects: with r_i and c_j the means of line i and column j of the m x n block,

        Var(mean) = Var(r)/m + Var(c)/n - Var(residuals)/(m n),      at least Var(residuals)/(m n),

    which is unbiased, where a product of one row with an estimated mean would count the other's noise twice. The
    variances are those of clusters within strata: Var(r)/m = sum over strata of k clusters of k/(k - 1) sum over
    clusters of (sum of its r_i - stratum's mean)^2 / m^2 (Cochran, Sampling Techniques, 5.3, with proportional parts,
    and 9.4 for clusters), and so for columns and residuals.
    nan for a task of fewer than two clusters, and on the diagonal (a row's product with itself is no sample).
    """
    errors = np.full((index.tasks, index.tasks), np.nan)
    rows = [index.rows(task) for task in range(index.tasks)]
    samples = [index.sample(task) for task in range(index.tasks)]
    residuals, weights = [sample.residuals for sample in samples], [sample.weights for sample in samples]
    for a in range(index.tasks):
        for b in range(a + 1, index.tasks):
            m, n = len(rows[a]), len(rows[b])
            if samples[a].clusters < 2 or samples[b].clusters < 2:
                continue
            block = kernel[np.ix_(rows[a], rows[b])]
            lines = weights[a] @ (residuals[a] @ block.mean(1)) ** 2 / m**2
            columns = weights[b] @ (residuals[b] @ block.mean(0)) ** 2 / n**2
            rest = weights[a] @ (residuals[a] @ block @ residuals[b].T) ** 2 @ weights[b] / (m * n) ** 2
            errors[a, b] = errors[b, a] = np.sqrt(max(lines + columns - rest, rest))
    return errors


def squared_lengths(kernel: np.ndarray, index: RowIndex) -> np.ndarray:
    """Unbiased estimates (T,) of |m_t|^2, m_t the true mean of task t's rows, from their inner products (N, N).

    The mean of the task's block, where a row's products with itself and its copies are replaced by its mean product
    with the others of its stratum. May be negative; nan for a task of fewer than two clusters.
    """
    found = np.full(index.tasks, np.nan)
    for task in range(index.tasks):
        rows, sample = index.rows(task), index.sample(task)
        if sample.clusters >= 2:
            found[task] = (sample.pairs * kernel[np.ix_(rows, rows)]).mean()
    return found


def block_means(kernel: np.ndarray, index: RowIndex) -> np.ndarray:
    """The mean of each block (T, T) of `kernel` (N, N)."""
    weights = np.stack([(index.task == task) / max(1, (index.task == task).sum()) for task in range(index.tasks)])
    return weights @ kernel @ weights.T


def _finite_part(gram: np.ndarray, index: RowIndex) -> tuple[np.ndarray, np.ndarray]:
    """The Gram matrix with zeros for rows that are not finite, and which tasks (T,) have none of these."""
    bad = ~np.isfinite(np.diagonal(gram))
    finite = np.array([not bad[index.rows(task)].any() for task in range(index.tasks)])
    return np.where(bad[:, None] | bad[None, :], 0.0, gram), finite


def _half_products(gram: np.ndarray, index: RowIndex) -> np.ndarray:
    """Dot products (T, 2, T, 2) of the mean gradients of all halves; zero for an empty half."""
    lines = [(index.task == task) & (index.half == half) for task in range(index.tasks) for half in range(2)]
    weights = np.stack([line / max(1, line.sum()) for line in lines])
    return (weights @ gram @ weights.T).reshape(index.tasks, 2, index.tasks, 2)


def _row_cosines(gram: np.ndarray, index: RowIndex, task: int, known: bool) -> np.ndarray:
    """Cosine of each row of a task with the mean over its rows; nan for rows without a gradient."""
    rows = index.rows(task)
    if not known:
        return np.full(len(rows), np.nan)
    block = gram[np.ix_(rows, rows)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return block.mean(1) / np.sqrt(np.diagonal(block) * block.mean())
