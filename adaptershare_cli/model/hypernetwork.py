"""HyperFormer's generators: what writes the weights of all adapters from an embedding of a task.

Source: Karimi Mahabadi et al. 2021 (ACL), section 2, and its code. With z the task's embedding (e values) and I the
generators' input, every tensor of the adapter at a site (down and up projection with biases, scale and shift of its
conditional layer norm) is an affine map of I, reshaped; the maps of a site stand as the rows of one matrix here:

    [D; b_D; U; b_U; gamma; beta] = G I + g

    HyperFormer    (`SiteGenerators`)    I = z,  a G for each site
    HyperFormer++  (`SharedGenerator`)   I = LN(W2 relu(W1 [z; l; q] + b1) + b2),  one G for all sites,
                                         with an embedding l for each layer and q for each position in a layer

Every weight is drawn from N(0, 0.01^2), every embedding from N(0, 1), biases are zero: the layer norm's scale starts
near zero, so the adapters start close to the identity.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from adaptershare_cli.model.folders import GENERATORS
from adaptershare_cli.seeds import derive_seed

WEIGHT_STD = 0.01
PROJECTOR_EPS = 1e-6
CONFIG = "hypernetwork.json"


@dataclass(frozen=True)
class GeneratorSizes:
    """Widths, named as in the original: of z, and of HyperFormer++'s projector its hidden layer and its output I.

    HyperFormer has no projector: its two widths are 0.
    """

    task_embedding_dim: int
    task_hidden_dim: int = 0
    projected_task_embedding_dim: int = 0


@dataclass(frozen=True)
class AdapterSite:
    """An adapter's place (`location`: its position in the layer) and the shapes of its tensors."""

    layer: int
    location: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def sizes(self) -> list[int]:
        """Number of values of each tensor."""
        return [math.prod(shape) for _, shape in self.shapes]


class HyperNetwork(nn.Module):
    """z (e,) -> every adapter tensor of a task, as `layer.location.parameter` (`AdapterBank.named_parameters`)."""

    def __init__(self, sites: Sequence[AdapterSite]) -> None:
        super().__init__()
        self.sites = tuple(sites)

    def flat(self, z: torch.Tensor) -> Sequence[torch.Tensor]:
        """For each site the values of its tensors, one after another."""
        raise NotImplementedError

    def forward(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """All adapter tensors for the task embedding z."""
        return {
            f"{site.layer}.{site.location}.{name}": values.view(shape)
            for site, written in zip(self.sites, self.flat(z), strict=True)
            for (name, shape), values in zip(site.shapes, written.split(site.sizes), strict=True)
        }

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights, the same for the same seed."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "hypernetwork"))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=WEIGHT_STD, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(generator=generator)


class SiteGenerators(HyperNetwork):
    """HyperFormer: every site has a generator of its own, and its input is the task's embedding as it is."""

    def __init__(self, sites: Sequence[AdapterSite], sizes: GeneratorSizes) -> None:
        super().__init__(sites)
        self.generators = nn.ModuleList(nn.Linear(sizes.task_embedding_dim, sum(site.sizes)) for site in sites)

    def flat(self, z: torch.Tensor) -> list[torch.Tensor]:
        """One map a site."""
        return [generator(z) for generator in self.generators]


class SharedGenerator(HyperNetwork):
    """HyperFormer++: one generator for all sites, told by embeddings for which layer and position it writes.

    All sites have tensors of the same shapes.
    """

    def __init__(self, sites: Sequence[AdapterSite], sizes: GeneratorSizes) -> None:
        super().__init__(sites)
        layers = {site.layer: None for site in sites}
        positions = {site.location: None for site in sites}
        layer_ids = [list(layers).index(site.layer) for site in sites]
        position_ids = [list(positions).index(site.location) for site in sites]
        self.register_buffer("layer_ids", torch.tensor(layer_ids), persistent=False)
        self.register_buffer("position_ids", torch.tensor(position_ids), persistent=False)
        e, hidden, p = sizes.task_embedding_dim, sizes.task_hidden_dim, sizes.projected_task_embedding_dim
        self.layer_embeddings = nn.Embedding(len(layers), e)
        self.position_embeddings = nn.Embedding(len(positions), e)
        self.projector = nn.Sequential(
            nn.Linear(3 * e, hidden), nn.ReLU(), nn.Linear(hidden, p), nn.LayerNorm(p, eps=PROJECTOR_EPS)
        )
        self.generator = nn.Linear(p, sum(sites[0].sizes))

    def flat(self, z: torch.Tensor) -> Sequence[torch.Tensor]:
        """One product for all sites."""
        layers, positions = self.layer_embeddings(self.layer_ids), self.position_embeddings(self.position_ids)
        joined = torch.cat([z.expand(len(self.sites), -1), layers, positions], dim=1)
        return self.generator(self.projector(joined)).unbind(0)


def make_hypernetwork(sites: Sequence[AdapterSite], sizes: GeneratorSizes) -> HyperNetwork:
    """The generators of one encoder, not yet initialised."""
    return SharedGenerator(sites, sizes) if sizes.task_hidden_dim else SiteGenerators(sites, sizes)


def fresh_embedding(dimension: int, task: str, seed: int) -> torch.Tensor:
    """The embedding (dimension,) with which a task starts: N(0, 1), whatever other tasks there are."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "task-embedding", task))
    return torch.randn(dimension, generator=generator)


def save_hypernetwork(
    network: HyperNetwork, sizes: GeneratorSizes, embeddings: Mapping[str, torch.Tensor], folder: Path
) -> None:
    """Write generators and embeddings: `hypernetwork.safetensors`, `hypernetwork.json`. Same weights, same bytes."""
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"embedding/{task}": tensor for task, tensor in embeddings.items()}
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, folder / GENERATORS)
    config = {"sizes": asdict(sizes), "sites": [asdict(site) for site in network.sites], "tasks": list(embeddings)}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_hypernetwork(folder: Path) -> tuple[HyperNetwork, dict[str, torch.Tensor]]:
    """The generators of a run, frozen, and its tasks' embeddings, from what `save_hypernetwork` wrote."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    sites = [
        AdapterSite(site["layer"], site["location"], tuple((name, tuple(shape)) for name, shape in site["shapes"]))
        for site in config["sites"]
    ]
    network = make_hypernetwork(sites, GeneratorSizes(**config["sizes"]))
    tensors = load_file(folder / GENERATORS)
    network.load_state_dict({n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")})
    return network.requires_grad_(False).eval(), {task: tensors[f"embedding/{task}"] for task in config["tasks"]}


def adapter_of_new_task(folder: Path, task: str, seed: int) -> dict[str, torch.Tensor]:
    """An adapter for a task that the run in `folder` has not seen: what its generators write for a fresh embedding.

    The names are those that `AdapterBank.fill` takes.
    """
    network, embeddings = load_hypernetwork(folder)
    (dimension,) = next(iter(embeddings.values())).shape
    return network(fresh_embedding(dimension, task, seed))
