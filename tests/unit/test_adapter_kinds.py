"""Kinds of adapters: how they are found, the settings that have their options, and what they may be used for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from adaptershare_cli.errors import UserError
from adaptershare_cli.model import adapters as registry
from adaptershare_cli.model.adapters import (
    adapter_kind,
    adapter_kinds,
    require_use,
    shape_options,
    training_options,
    training_settings,
)
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.adapters.base import AdapterKind, Site
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.row_gradients import affine_modules
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.settings import TrainingSettings, joint_settings, option
from adaptershare_cli.sharing.plan import SharingPlan
from tests.core import adapter_training


@dataclass(frozen=True)
class NarrowSettings(TrainingSettings):
    """The settings of a kind with an option of its own."""

    narrow_width: int = option(3, "How wide.", 1)


class NarrowKind(AdapterKind):
    """A kind that no file defines."""

    label: ClassVar[str] = "narrow"
    architecture: ClassVar[str | None] = "narrow"
    settings: ClassVar[type[TrainingSettings]] = NarrowSettings
    shaping: ClassVar[tuple[str, ...]] = ()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> AdapterKind:
    """A further kind, found as those are that have files."""
    kind = NarrowKind("narrow", "very thin", "BnConfig")
    found = [*registry.iter_modules(registry.__path__), SimpleNamespace(name="narrow")]
    load = registry.import_module
    monkeypatch.setattr(registry, "iter_modules", lambda path: found)
    monkeypatch.setattr(
        registry,
        "import_module",
        lambda name: SimpleNamespace(KINDS=(kind,)) if name.endswith("narrow") else load(name),
    )
    for cached in (adapter_kinds, training_options):
        cached.cache_clear()
    yield kind
    for cached in (adapter_kinds, training_options):
        cached.cache_clear()


# ------------------------------------------------------------------------------------------------------------- registry


def test_every_file_defines_kinds() -> None:
    files = {file.stem for file in Path(registry.__file__).parent.glob("*.py")} - {"__init__", "bank", "base"}
    modules = {type(kind).__module__.rpartition(".")[2] for kind in adapter_kinds().values()}
    assert modules == files
    assert all(kind.name == name and kind.summary for name, kind in adapter_kinds().items())


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'wide'.* Use seq_bn or double_seq_bn or par_bn"):
        adapter_kind("wide")


@pytest.mark.parametrize("name", adapter_kinds())
def test_the_default_is_what_the_library_makes(name: str) -> None:
    kind, training = adapter_kind(name), adapter_training(name)
    made = kind.config_in_library(training).to_dict()
    for option_name, field in kind.options.items():
        assert made[field] == getattr(training, option_name) != getattr(kind.settings, option_name)
    assert set(kind.shaping) <= set(made)
    assert kind.complete_config(made) == made
    assert kind.options_of(made) == {option_name: getattr(training, option_name) for option_name in kind.own_options}
    changed = kind.config_in_library(training, kind.generated_fields).to_dict()
    assert {field for field in made if made[field] != changed[field]} == set(kind.generated_fields)


# ----------------------------------------------------------------------------------------------------------------- uses


def test_a_kind_can_do_nothing_that_it_does_not_say(narrow: AdapterKind) -> None:
    for use, others in (("fused", "seq_bn or double_seq_bn"), ("pruned", "seq_bn or double_seq_bn or par_bn")):
        with pytest.raises(UserError, match=f"narrow cannot be {use}.*--adapter-config narrow.* Use {others}"):
            require_use(narrow, use)  # type: ignore[arg-type]


@pytest.mark.parametrize("use", ["fused", "pruned", "generated"])
@pytest.mark.parametrize(("name", "label"), [("lora", "LoRA"), ("ia3", r"\(IA\)\^3")])
def test_what_is_inside_of_a_linear_says_why_it_cannot(use: str, name: str, label: str) -> None:
    says = f"{label} cannot be {use}: .*--adapter-config {name}.* Use seq_bn or double_seq_bn"
    with pytest.raises(UserError, match=says):
        require_use(adapter_kind(name), use)  # type: ignore[arg-type]


def test_a_kind_says_how_its_gradients_are_taken() -> None:
    assert len(affine_modules(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.LayerNorm(2)))) == 2
    for other in (
        nn.Linear(3, 2, bias=False),
        nn.Embedding(3, 2),
        nn.LayerNorm(2, elementwise_affine=True, bias=False),
    ):
        with pytest.raises(NotImplementedError, match=type(other).__name__):
            affine_modules(nn.Sequential(nn.Linear(3, 2), other))


def test_tensors_outside_the_layers_are_refused(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan says nothing of them: they would be neither shared nor saved."""
    monkeypatch.setattr(AdapterKind, "sites", lambda self, encoder, adapter: [Site(-1, "shared", nn.Linear(1, 1))])
    with pytest.raises(NotImplementedError, match="belong to no layer"):
        model = load_encoder(locate_encoder(str(encoder)), torch.device("cpu"))
        AdapterBank(model, SharingPlan.shared(("one",), 2), TrainingSettings(), 0)


def test_what_the_library_cannot_add_is_refused(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_encoder(locate_encoder(str(encoder)), torch.device("cpu"))
    monkeypatch.setattr(model, "supports_adapter", lambda config: False)
    with pytest.raises(UserError, match="type bert take no adapters of the kind seq_bn.*--adapter-config seq_bn"):
        AdapterBank(model, SharingPlan.shared(("one",), 2), TrainingSettings(), 0)


# -------------------------------------------------------------------------------------------------------------- options


def test_settings_are_of_the_class_that_the_kind_needs(narrow: AdapterKind) -> None:
    values: dict[str, Any] = {"max_steps": 7, "device": "cpu"}
    assert training_settings(values) == TrainingSettings(max_steps=7)
    assert type(training_settings(values)) is TrainingSettings
    values |= {"adapter_config": "narrow", "narrow_width": 5}
    assert training_settings(values) == NarrowSettings(max_steps=7, adapter_config="narrow", narrow_width=5)
    assert shape_options(training_settings(values)) == ("adapter_config", "narrow_width")
    assert shape_options(TrainingSettings()) == ("adapter_config", "reduction_factor")


def test_an_option_of_another_kind_is_refused(narrow: AdapterKind) -> None:
    with pytest.raises(UserError, match="--narrow-width belongs to --adapter-config narrow.*--adapter-config par_bn"):
        training_settings({"adapter_config": "par_bn", "narrow_width": 5})
    with pytest.raises(UserError, match="--reduction-factor belongs to --adapter-config seq_bn or double_seq_bn or"):
        training_settings({"adapter_config": "narrow", "reduction_factor": 4})
    # A preset may name the default.
    assert training_settings({"adapter_config": "narrow", "reduction_factor": 16}).adapter_config == "narrow"
    assert training_settings({"narrow_width": 3}) == TrainingSettings()


def test_the_command_line_has_the_options_of_all_kinds(narrow: AdapterKind) -> None:
    found = joint_settings([training_options()])
    usual = [item.name for item in fields(TrainingSettings)]
    assert list(found) == [*usual, "lora_r", "lora_alpha", "lora_target", "narrow_width"]
    assert "narrow (very thin)" in found["adapter_config"].metadata["help"]
    assert found["narrow_width"].metadata == fields(NarrowSettings)[-1].metadata
    for name in usual:
        if name != "adapter_config":
            assert found[name].metadata == joint_settings([TrainingSettings])[name].metadata
            assert found[name].default == joint_settings([TrainingSettings])[name].default
