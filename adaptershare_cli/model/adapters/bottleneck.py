"""Bottleneck adapters: two Linears with an activation between them, at one or two places of a layer.

Source: Houlsby et al. 2019 (`double_seq_bn`), Pfeiffer et al. 2021 (`seq_bn`), He et al. 2022 (`par_bn`); the
arithmetic is the library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adaptershare_cli.model.adapters.base import AdapterKind, Site, Use

if TYPE_CHECKING:
    from adaptershare_cli.model.row_gradients import RowGradient


class BottleneckKind(AdapterKind):
    """Adapters whose config in the library is a `BnConfig`."""

    label: ClassVar[str] = "bottleneck"
    architecture: ClassVar[str | None] = None
    options: ClassVar[Mapping[str, str]] = {"reduction_factor": "reduction_factor"}
    shaping: ClassVar[tuple[str, ...]] = (
        "mh_adapter", "output_adapter", "cross_adapter", "reduction_factor", "non_linearity", "is_parallel", "scaling",
        "original_ln_before", "original_ln_after", "ln_before", "ln_after", "residual_before_ln",
        "adapter_residual_before_ln", "use_gating", "dropout", "stochastic_depth", "phm_layer", "inv_adapter",
        "leave_out",
    )  # fmt: skip
    generated_fields: ClassVar[Mapping[str, Any]] = {"non_linearity": "gelu_new", "ln_after": True}

    def complete_config(self, stored: dict[str, Any]) -> dict[str, Any]:
        """All fields: the class of all bottlenecks, whose places have no defaults, so that they must be in the file."""
        from adapters import BnConfig

        return BnConfig.from_dict(stored).to_dict()

    def row_gradients(self, site: Site) -> list[RowGradient]:
        """Of its Linears, and of its layer norm where it has one."""
        from adaptershare_cli.model.row_gradients import affine_modules

        return affine_modules(site.module)

    def units(self, site: Site) -> list[tuple[str, str]]:
        """The neurons of the bottleneck."""
        return [("adapter_down.0.weight", "adapter_up.weight")]


_PARALLEL = "Parallel adapters cannot be fused: the library's fusion would add their residual twice"
_MERGED = "Bottlenecks cannot be merged into the encoder's weights: an activation stands between their two matrices"
_PEFT = "Bottlenecks cannot be given to peft: it has no such adapters"
_ALL: frozenset[Use] = frozenset({"fused", "pruned", "generated"})
_NONE: tuple[tuple[Use, str], ...] = (("merged", _MERGED), ("given to peft", _PEFT))
KINDS = (
    BottleneckKind("seq_bn", "a bottleneck after feed-forward", "SeqBnConfig", _ALL, _NONE),
    BottleneckKind("double_seq_bn", "one after attention and one after feed-forward", "DoubleSeqBnConfig", _ALL, _NONE),
    BottleneckKind(
        "par_bn", "one beside feed-forward", "ParBnConfig", _ALL - {"fused"}, (("fused", _PARALLEL), *_NONE)
    ),
)
