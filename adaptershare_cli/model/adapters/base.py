"""What an adapter kind is: everything that this program asks of one choice of `--adapter-config`.

A kind is one file in this folder: a subclass of `AdapterKind` and a tuple `KINDS` of its instances, one for each name
that `--adapter-config` takes. Nothing else needs to know of it. Such a file is imported to list the names in help
texts, so it imports torch and the library only inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from adaptershare_cli.settings import TrainingSettings, option_value

if TYPE_CHECKING:
    import torch
    from torch import nn

    from adaptershare_cli.model.row_gradients import RowGradient

Use = Literal["fused", "pruned", "generated", "merged", "given to peft"]  # what is done with adapters beside training


@dataclass(frozen=True)
class Site:
    """A place in a layer and the module of one task's adapter that sits there."""

    layer: int
    location: str
    module: nn.Module


@dataclass(frozen=True)
class AdapterKind:
    """One choice of --adapter-config: its `name` there, and a `summary` for the help text.

    `config_class` is the class of the library's configs that describes such adapters.

    What all names of a file have in common:
        label               what people call such adapters
        architecture        what the library calls them (`architecture` in their configs)
        settings            the class of training settings that has their options; a kind with options of its own
                            extends `TrainingSettings`
        options             those of its options that are fields of the library's config too, and the fields' names
        shaping             fields of the library's config that shape what an adapter computes; all others say how
                            fresh weights are drawn, or belong to variants that these fields rule out
        generated_fields    fields of the config that a generator's adapters have (`model.hyperformer`)
    """

    name: str
    summary: str
    config_class: str
    uses: frozenset[Use] = frozenset()  # what can be done with such adapters
    refusals: tuple[tuple[Use, str], ...] = ()  # for some other use, why it is impossible

    label: ClassVar[str]
    architecture: ClassVar[str | None]
    settings: ClassVar[type[TrainingSettings]] = TrainingSettings
    options: ClassVar[Mapping[str, str]] = {}
    shaping: ClassVar[tuple[str, ...]]
    generated_fields: ClassVar[Mapping[str, Any]] = {}

    def config_in_library(self, training: TrainingSettings, other_fields: Mapping[str, Any] | None = None) -> Any:
        """The library's config of such adapters, with some `other_fields` than the kind's own."""
        import adapters

        chosen = {name: getattr(training, option) for option, name in self.options.items()}
        return getattr(adapters, self.config_class)(**chosen, **(other_fields or {}))

    def complete_config(self, stored: dict[str, Any]) -> dict[str, Any]:
        """All fields of a config that was read from a file. Raises TypeError where fields without default are missing.

        The file is of the kind's architecture.
        """
        import adapters

        return getattr(adapters, self.config_class).from_dict(stored).to_dict()

    def described(self, training: TrainingSettings) -> str:
        """The kind and its options in words, for messages."""
        options = [f"{option.replace('_', ' ')} {getattr(training, option)}" for option in self.own_options]
        return f"{self.name} with {', '.join(options)}" if options else self.name

    @property
    def own_options(self) -> tuple[str, ...]:
        """The options of such adapters that not every kind has."""
        common = {item.name for item in fields(TrainingSettings)}
        return tuple(dict.fromkeys([*self.options, *(f.name for f in fields(self.settings) if f.name not in common)]))

    def options_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the options that make adapters with this config; None for one that no command line can say."""
        return {name: option_value(self.settings, name, config.get(field)) for name, field in self.options.items()}

    def sites(self, encoder: Any, adapter: str) -> list[Site]:
        """The modules of an adapter that the library has added to `encoder`, by layer and location."""
        found: dict[int, dict[str, nn.Module]] = encoder.get_adapter(adapter)
        return [
            Site(layer, location, module)
            for layer, modules in sorted(found.items())
            for location, module in sorted(modules.items())
        ]

    def mixes_tasks(self, encoder: Any) -> bool:
        """Whether the library computes rightly in `encoder` with rows of several tasks in one batch."""
        return True

    def row_gradients(self, site: Site) -> list[RowGradient]:
        """How one pass gives each row's gradient on the site's tensors, all of them in the order of the module's."""
        raise NotImplementedError

    def units(self, site: Site) -> list[tuple[str, str]]:
        """What is pruned as one: pairs of matrices (units, in) and (out, units), by their names in the module.

        Unit i is row i of the first and column i of the second. Needed for adapters that can be pruned.
        """
        raise NotImplementedError

    def merged_into(self, encoder: Any, adapter: str) -> dict[str, torch.Tensor]:
        """The encoder's own tensors that an adapter changes, by name, as they are with it. For adapters that merge."""
        raise NotImplementedError

    def in_peft(self, encoder: Any, adapter: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What peft's config says of an adapter, and its tensors by peft's names in the encoder."""
        raise NotImplementedError
