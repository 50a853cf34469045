"""Matrix products that round as on another processor: a pytest plugin that finds tests which lean on this one's.

A sum of floating point numbers depends on the order of its terms, and each processor, number of threads and shape of a
product has an order of its own. With

    python -m pytest -p tests.rounding

every matrix product of torch adds its terms in an order drawn by its shape and the seed ADAPTERSHARE_ROUNDING (1 unless
given), and `--precision auto` finds a processor that multiplies bf16. As on a real processor the same product gives the
same bits each time, and a product that is exact in one order is so in all. A test that fails now and passes without
holds for some processors only.

Processes that are forked (`tests.faults.processes`) round alike. Others that a test starts do not, so tests that
compare bits with theirs are skipped.
"""

from __future__ import annotations

import os
import random
import warnings
from functools import cache

import pytest
import torch

SEED = "ADAPTERSHARE_ROUNDING"
OTHER_PROCESSES = ("tests/unit/test_export.py::test_the_readme_snippet_gives_our_logits_bit_for_bit",)
exact = torch.ops.aten  # its `out` variants stay as they are


@cache
def order(*shape: int) -> torch.Tensor:
    """In which order a product of that shape adds its terms; the last number is how many there are."""
    places = list(range(shape[-1]))
    random.Random(f"{os.environ[SEED]} {shape}").shuffle(places)
    return torch.tensor(places, dtype=torch.long)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """As sums are kept: those of bf16 in fp32."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(m, k) times (k, n), or a batch of such, before it is rounded to the type of `a`."""
    places = order(*a.shape[:-1], b.shape[-1], a.shape[-1])
    a, b = wide(a).index_select(-1, places), wide(b).index_select(-2, places)
    out = a.new_empty(*a.shape[:-1], b.shape[-1])
    return exact.mm.out(a, b, out=out) if a.dim() == 2 else exact.bmm.out(a, b, out=out)


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """For mm and bmm."""
    return product(a, b).to(a.dtype)


def multiply_and_add(
    bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1
) -> torch.Tensor:
    """For addmm and baddbmm: beta bias + alpha a b, rounded once."""
    total = alpha * product(a, b)
    return (total + beta * wide(bias) if beta else total).to(a.dtype)


os.environ.setdefault(SEED, "1")
library = torch.library.Library("aten", "IMPL")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that they replace what is there
    for name in ("mm", "bmm"):
        library.impl(name, multiply, "CPU")
    for name in ("addmm", "baddbmm"):
        library.impl(name, multiply_and_add, "CPU")
torch.cpu.get_capabilities = lambda: {"amx_bf16": True}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that compare bits with those of a process that rounds as this processor does."""
    for item in items:
        if item.nodeid.startswith(OTHER_PROCESSES):
            item.add_marker(pytest.mark.skip(reason="the process that it starts rounds otherwise"))
