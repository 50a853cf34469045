"""The tree of layers that tasks run together."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.serving.branches import Branch, branches
from adaptershare_cli.sharing.plan import SharingPlan

KEYS = st.integers(1, 4).flatmap(
    lambda depth: st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.integers(0, 2), min_size=depth, max_size=depth), min_size=1
    )
)


def all_of(branch: Branch) -> Iterator[Branch]:
    yield branch
    for part in branch.parts:
        yield from all_of(part)


@given(KEYS)
def test_every_task_runs_through_every_layer_once_and_only_with_its_like(keys: dict[str, list[int]]) -> None:
    depth = len(next(iter(keys.values())))
    tree = branches(keys)
    for task, own in keys.items():
        mine = [branch for branch in all_of(tree) if task in branch.tasks]
        assert [layer for branch in mine for layer in range(branch.start, branch.end)] == list(range(depth))
        for branch in mine:
            assert all(keys[other][: branch.end] == own[: branch.end] for other in branch.tasks)
    assert tree.tasks == tuple(keys)
    # A layer runs once for each set of tasks that were alike up to it.
    assert tree.layers == sum(len({tuple(own[: layer + 1]) for own in keys.values()}) for layer in range(depth))


def test_a_shared_plan_runs_once_and_a_private_one_for_each_task() -> None:
    tasks = ("a", "b", "c")
    for plan, layers in ((SharingPlan.shared(tasks, 4), 4), (SharingPlan.private(tasks, 4), 12)):
        found = branches({t: [next(g for g in groups if t in g) for groups in plan.layers] for t in tasks})
        assert found.layers == layers


def test_tasks_that_part_and_share_again_are_not_run_together_again() -> None:
    found = branches({"a": [0, 1, 0], "b": [0, 2, 0]})
    assert found == Branch(("a", "b"), 0, 1, (Branch(("a",), 1, 3), Branch(("b",), 1, 3)))
