"""Laws of sharing plans."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adaptershare_cli.methods.random_plan.method import permuted
from adaptershare_cli.sharing.plan import SharingPlan

# Names that contain each other, so that no test passes by comparing substrings.
NAMES = ("mnli", "mnli-2", "nli", "a", "aa", "a-a")


@st.composite
def plans(draw: st.DrawFn) -> SharingPlan:
    """A plan over one to six tasks, with groups and their members in any order."""
    tasks = draw(st.permutations(NAMES))[: draw(st.integers(1, len(NAMES)))]
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.lists(st.integers(0, 5), min_size=len(tasks), max_size=len(tasks)))
        groups = [tuple(t for t, n in zip(tasks, number, strict=True) if n == value) for value in set(number)]
        layers.append(tuple(draw(st.permutations(groups))))
    return SharingPlan(tuple(tasks), tuple(layers))


@st.composite
def splits(draw: st.DrawFn) -> tuple[SharingPlan, int, tuple[str, ...], tuple[str, ...]]:
    """A plan and one possible split of it: layer, kept, moved."""
    plan = draw(plans())
    possible = [(layer, group) for layer, groups in enumerate(plan.layers) for group in groups if len(group) > 1]
    assume(possible)
    layer, group = draw(st.sampled_from(possible))
    members = draw(st.permutations(group))
    at = draw(st.integers(1, len(members) - 1))
    return plan, layer, tuple(members[:at]), tuple(members[at:])


@given(plans())
def test_each_task_stands_in_exactly_one_group_a_layer(plan: SharingPlan) -> None:
    for layer, groups in enumerate(plan.layers):
        assert Counter(task for group in groups for task in group) == Counter(plan.tasks)
        for task in plan.tasks:
            assert task in plan.group(layer, task)
            assert [other for other in plan.tasks if plan.share(layer, task, other)] == list(plan.group(layer, task))


@given(splits())
def test_a_split_refines_one_group_and_nothing_else(
    case: tuple[SharingPlan, int, tuple[str, ...], tuple[str, ...]],
) -> None:
    plan, layer, kept, moved = case
    after = plan.split(layer, kept, moved)
    assert [set(after.group(layer, kept[0])), set(after.group(layer, moved[0]))] == [set(kept), set(moved)]
    for number, groups in enumerate(after.layers):
        assert Counter(task for group in groups for task in group) == Counter(plan.tasks)
        assert all(set(group) <= set(plan.group(number, group[0])) for group in groups)
        if number != layer:
            assert groups == plan.layers[number]
    assert len(after.layers[layer]) == len(plan.layers[layer]) + 1
    assert after.growth == pytest.approx(plan.growth + 1 / len(plan.layers))
    assert plan.split(layer, moved, kept) == after  # which part is kept is the bank's business, not the plan's


@given(plans(), st.randoms(use_true_random=False))
def test_equal_partitions_are_equal_values(plan: SharingPlan, random: object) -> None:
    def shuffled(items: tuple) -> tuple:
        order = list(items)
        random.shuffle(order)  # type: ignore[attr-defined]
        return tuple(order)

    same = SharingPlan(plan.tasks, tuple(shuffled(tuple(shuffled(g) for g in groups)) for groups in plan.layers))
    assert same == plan
    assert hash(same) == hash(plan)
    assert same.to_json() == plan.to_json()
    assert same.rows("main", 3) == plan.rows("main", 3)


@given(splits())
def test_a_different_partition_is_a_different_value(
    case: tuple[SharingPlan, int, tuple[str, ...], tuple[str, ...]],
) -> None:
    plan, layer, kept, moved = case
    assert plan.split(layer, kept, moved) != plan


@given(plans())
def test_json_round_trip(plan: SharingPlan) -> None:
    assert SharingPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@given(plans())
def test_rows_tell_the_whole_plan(plan: SharingPlan) -> None:
    rows = plan.rows("main", 7)
    assert {(row["phase"], row["step"]) for row in rows} == {("main", 7)}
    number = {(row["layer"], row["task"]): row["group"] for row in rows}
    assert len(rows) == len(number) == len(plan.layers) * len(plan.tasks)
    for layer in range(len(plan.layers)):
        seen: list[int] = []
        for task in plan.tasks:
            group = number[layer, task]
            if group not in seen:
                seen.append(group)
            assert [t for t in plan.tasks if number[layer, t] == group] == list(plan.group(layer, task))
        assert seen == sorted(seen) == list(range(len(plan.layers[layer])))  # numbered by their first task


@given(plans())
def test_growth_lies_between_shared_and_private(plan: SharingPlan) -> None:
    layers = len(plan.layers)
    shared, private = SharingPlan.shared(plan.tasks, layers), SharingPlan.private(plan.tasks, layers)
    assert (shared.growth, private.growth) == (1, len(plan.tasks))
    assert 1 <= plan.growth <= len(plan.tasks)
    assert (plan.growth == 1) == (plan == shared)
    assert (plan.growth == len(plan.tasks)) == (plan == private)


def test_growth_is_a_mean_over_layers() -> None:
    plan = SharingPlan(("a", "b", "c"), ((("a", "b", "c"),), (("a",), ("b", "c")), (("a",), ("b",), ("c",))))
    assert plan.growth == 2


@pytest.mark.parametrize(
    "layer",
    [
        (("a",),),  # b is missing
        (("a", "b"), ("a",)),  # a twice
        (("a", "a"), ("b",)),
        (("a", "b", "c"),),  # c is no task
        (("a", "b"), ()),  # an empty group
        (),
    ],
)
def test_a_layer_that_is_no_partition_is_refused(layer: tuple) -> None:
    good = (("a", "b"),)
    with pytest.raises(ValueError, match="layer 1"):
        SharingPlan(("a", "b"), (good, layer))


def test_a_task_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        SharingPlan(("a", "a"), ((("a",), ("a",)),))


@pytest.mark.parametrize(
    ("kept", "moved"),
    [
        (("a",), ("c",)),  # of two groups
        (("a",), ("a", "b")),
        (("a", "b"), ()),
        ((), ("a", "b")),
        (("c",), ()),
        (("a",), ("no-task",)),
        (("no-task",), ("a",)),
    ],
)
def test_a_split_of_anything_but_a_group_is_refused(kept: tuple[str, ...], moved: tuple[str, ...]) -> None:
    plan = SharingPlan(("a", "b", "c"), ((("a", "b"), ("c",)),))
    with pytest.raises(ValueError, match="layer 0"):
        plan.split(0, kept, moved)


# --------------------------------------------------------------------------------------------------------- random plans


@given(plans(), st.integers(0, 1000))
def test_permuted_plans_keep_sizes_and_refinement(plan: SharingPlan, seed: int) -> None:
    shared = SharingPlan.shared(plan.tasks, len(plan.layers))
    drawn = permuted(((0, shared), (5, plan)), seed)
    assert [step for step, _ in drawn] == [0, 5]
    assert drawn[0][1] == shared
    assert drawn == permuted(((0, shared), (5, plan)), seed)
    for ours, theirs in zip(drawn[1][1].layers, plan.layers, strict=True):
        assert sorted(map(len, ours)) == sorted(map(len, theirs))


def test_layers_and_seeds_draw_differently() -> None:
    tasks = tuple("abcdefgh")
    plan = SharingPlan(tasks, ((tasks[:4], tasks[4:]),) * 6)
    found = {permuted(((0, plan),), seed)[0][1] for seed in range(5)}
    assert len(found) == 5
    assert len(set(permuted(((0, plan),), 0)[0][1].layers)) > 1


def test_groups_in_half_of_the_layers():
    groups = {("a", "c"): "upper", ("b",): "all"}
    apart, together = (("a",), ("b",), ("c",)), (("a", "c"), ("b",))
    assert SharingPlan.of_groups("abc", 5, groups).layers == (apart, apart, together, together, together)
    assert SharingPlan.of_groups("abc", 2, {**groups, ("a", "c"): "lower"}).layers == (together, apart)
    assert SharingPlan.of_groups("abc", 3, {tuple("abc"): "all"}) == SharingPlan.shared("abc", 3)
    assert SharingPlan.of_groups("abc", 1, {tuple("abc"): "lower"}) == SharingPlan.private("abc", 1)
