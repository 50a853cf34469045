"""Adapters of one start merged into one without any training: their mean, or TIES. Pure: tensors in, tensors out.

TIES (Yadav et al., NeurIPS 2023, "TIES-Merging: Resolving Interference When Merging Models"): of what training changed
in each adapter only the largest entries stay (trim); for each entry the sign with the larger sum wins (elect); the
changes of that sign are averaged over the adapters that have one (disjoint mean), and added to the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

Adapter = Mapping[str, torch.Tensor]
Rule = Callable[[Adapter, Sequence[Adapter]], dict[str, torch.Tensor]]  # of the start, and what came of it
DENSITY = 0.2  # the share of entries that trimming leaves; with this and changes added in full, the paper's defaults


def average(start: Adapter, adapters: Sequence[Adapter]) -> dict[str, torch.Tensor]:
    """The mean of the adapters, whatever they started from."""
    return {
        name: torch.stack([adapter[name].double() for adapter in adapters]).mean(0).to(tensor.dtype)
        for name, tensor in adapters[0].items()
    }


def ties(start: Adapter, adapters: Sequence[Adapter], density: float = DENSITY) -> dict[str, torch.Tensor]:
    """TIES of the adapters, all of which began as `start`.

    Trimming looks at all entries of an adapter at once, as the paper does. Where the changes of an entry cancel out,
    no sign wins, and it stays as it was at the start.
    """
    names = list(start)
    changes = torch.stack([_flat(adapter, names) - _flat(start, names) for adapter in adapters])
    merged = _flat(start, names) + disjoint_mean(torch.stack([trimmed(change, density) for change in changes]))
    parts = merged.split([start[name].numel() for name in names])
    return {
        name: part.reshape(start[name].shape).to(start[name].dtype) for name, part in zip(names, parts, strict=True)
    }


def trimmed(change: torch.Tensor, density: float) -> torch.Tensor:
    """A flat change (n,) with its `density * n` largest entries by size (rounded, at least one), zeros elsewhere.

    Entries as large as the smallest of these stay, too.
    """
    kept = max(1, round(density * len(change)))
    least = change.abs().topk(kept).values[-1]
    return torch.where(change.abs() >= least, change, 0.0)


def disjoint_mean(changes: torch.Tensor) -> torch.Tensor:
    """Of changes (adapters, n) for each entry the mean of those that have the sign of their sum; 0 if it is 0."""
    sign = changes.sum(0).sign()
    agreeing = (changes.sign() == sign) & (sign != 0)
    return torch.where(agreeing, changes, 0.0).sum(0) / agreeing.sum(0).clamp(min=1)


def _flat(adapter: Adapter, names: Sequence[str]) -> torch.Tensor:
    return torch.cat([adapter[name].double().flatten() for name in names])


RULES: Mapping[str, Rule] = {"average": average, "ties": ties}
