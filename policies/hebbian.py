"""Networks whose weights change while they act, by Hebbian rules that differ from connection to connection."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from policies.equations.plasticity import INITIAL_WEIGHTS, NORMALIZATIONS, RULES, initial_weights, weight_change
from policies.names import choose, nearest
from policies.neurons import State

NetState = tuple[State, ...]

SEEDS = 2**24
"""Initial weights are drawn from seeds below this, which float32 holds exactly."""

DISTRIBUTIONS = ("normal", "uniform")
OUTPUTS = {"linear": nn.Identity, "tanh": nn.Tanh}


class PlasticLinear(nn.Module):
    """The coefficients of connections (inputs, outputs), each a parameter named as in `RULES`; the weights are a state.

    With init_weights="coevolve" the weights at the start of an episode are a parameter too, `w`.
    """

    def __init__(
        self, inputs: int, outputs: int, hebb_rule: str, init_weights: str, coefficients: str, coefficient_scale: float
    ) -> None:
        super().__init__()
        self.shape = (inputs, outputs)
        self.names = RULES[hebb_rule]
        learned = [*self.names, *(["w"] if init_weights == "coevolve" else [])]
        for name in learned:
            self.register_parameter(name, nn.Parameter(draw((coefficients, coefficient_scale), self.shape)))
        self.start = None if init_weights == "coevolve" else initial_weights(init_weights, inputs, outputs)

    def weights_at_start(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Weights (B, in, out) for the start of an episode, one generator a row."""
        if self.start is None:
            return self.get_parameter("w").expand(len(generators), *self.shape)
        like = self.get_parameter(self.names[0])
        if self.start[0] == "constant" or not generators:
            return like.new_full((len(generators), *self.shape), self.start[1])
        return torch.stack([draw(self.start, self.shape, generator) for generator in generators]).to(like)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Inputs (B, in) through the weights (B, in, out) of each row: (B, out)."""
        return torch.einsum("bi,bio->bo", x, weights)

    def changed(self, weights: Tensor, pre: Tensor, post: Tensor) -> Tensor:
        """The weights after activities pre (B, in) and post (B, out)."""
        rule = {name: getattr(self, name) for name in self.names}
        return weights + weight_change(rule, pre[:, :, None], post[:, None, :])

    def extra_repr(self) -> str:
        return f"{self.shape[0]}, {self.shape[1]}, {', '.join(self.names)}"


class HebbianNet(nn.Module):
    """Plastic layers (Najarro & Risi, NeurIPS 2020, arXiv 2007.02686): x (B, features) -> y (B, outputs).

    Every step first computes the output with the weights as they are, tanh in the hidden layers, and then changes all
    weights by what their two neurons just did. There are no biases, and no reward enters. The parameters are the rules'
    coefficients, the weights are a state ((w,), ...) of tensors (B, inputs, outputs), and gradients pass through every
    change. With normalize="max" these gradients keep their size over an episode; with "clip" and "none" they grow from
    step to step, and with coefficients near 1, as evolution starts with, overflow within some tens of steps: there, learn
    with a `coefficient_scale` of 0.05 or so.

    Every call starts with initial weights drawn anew. To let them change from one call to the next, use `run` with a
    state, or set `carried` as policies do.

    :param hidden_sizes: sizes of the hidden layers
    :param hebb_rule: a name of `policies.equations.plasticity.RULES`
    :param init_weights: a name of `INITIAL_WEIGHTS` there: how weights are drawn at the start of an episode
    :param normalize: after each step, divide the weights of each layer by the largest of their magnitudes ("max"; a layer
        of zeros stays as it is), clip them to [-1, 1] ("clip"), or leave them ("none", as the paper does for ants)
    :param output: "linear", or "tanh" for the output and the last layer's post-synaptic activity
    :param coefficients: distribution of the coefficients, and of coevolved weights, at first: "normal" or "uniform"
    :param coefficient_scale: its standard deviation, or its bound
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        hidden_sizes: Sequence[int] = (128, 64),
        hebb_rule: str = "ABCD_lr",
        init_weights: str = "uniform",
        normalize: str = "max",
        output: str = "linear",
        coefficients: str = "normal",
        coefficient_scale: float = 1.0,
    ) -> None:
        super().__init__()
        choose("hebb_rule", hebb_rule, RULES)
        for what, name, known in (
            ("init_weights", init_weights, INITIAL_WEIGHTS),
            ("normalize", normalize, NORMALIZATIONS),
            ("coefficients", coefficients, DISTRIBUTIONS),
        ):
            if name not in known:
                raise ValueError(f"Unknown {what} '{name}'. {nearest(name, known)}")
        if not 0 <= coefficient_scale < math.inf:
            raise ValueError(f"coefficient_scale={coefficient_scale} must be a finite number of at least 0.")
        if not isinstance(hidden_sizes, (list, tuple)) or not all(type(size) is int and size > 0 for size in hidden_sizes):
            raise ValueError(f"hidden_sizes={hidden_sizes!r} must be a list of positive integers, such as [128, 64].")
        self.features, self.outputs = features, outputs
        self.hebb_rule, self.init_weights, self.normalize, self.output = hebb_rule, init_weights, normalize, output
        self.squash = choose("output", output, OUTPUTS)()
        sizes = [features, *hidden_sizes, outputs]
        self.layers = nn.ModuleList(
            PlasticLinear(a, b, hebb_rule, init_weights, coefficients, coefficient_scale) for a, b in itertools.pairwise(sizes)
        )
        self.carried: NetState | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, outputs), each row with initial weights; while `carried` is set, with these, and they change."""
        y, state = self.run(x, self.rest(len(x)) if self.carried is None else self.carried)
        if self.carried is not None:
            self.carried = state
        return y

    def run(self, x: Tensor, state: NetState) -> tuple[Tensor, NetState]:
        """Outputs (B, outputs) and the weights afterwards. FloatingPointError when outputs overflow while acting."""
        activities = [x]
        for i, (layer, (w,)) in enumerate(zip(self.plastic_layers(), state, strict=True)):
            y = layer(activities[-1], w)
            activities.append(torch.tanh(y) if i + 1 < len(self.layers) else self.squash(y))
        if not torch.is_grad_enabled() and not torch.isfinite(activities[-1]).all():
            raise FloatingPointError(
                f"The weights of this network diverge under '{self.hebb_rule}' with normalize='{self.normalize}'; use "
                "normalize='max' or 'clip', a smaller coefficient_scale, or trainers.es, which ranks such members last."
            )
        pairs = zip(self.plastic_layers(), state, itertools.pairwise(activities), strict=True)
        return activities[-1], tuple(
            (normalized(layer.changed(w, pre, post), self.normalize),) for layer, (w,), (pre, post) in pairs
        )

    def rest(self, batch: int) -> NetState:
        """Weights for the start of `batch` episodes, drawn from torch's generator."""
        return self.drawn(torch.randint(SEEDS, (batch,)))

    def drawn(self, seeds: Tensor) -> NetState:
        """Weights for the start of episodes, those of row b drawn from seeds[b] alone, on any device alike."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
        return tuple((layer.weights_at_start(generators),) for layer in self.plastic_layers())

    def plastic_layers(self) -> list[PlasticLinear]:
        """All layers, from the input on."""
        return list(self.layers)  # type: ignore[arg-type]


def draw(distribution: tuple[str, float], shape: tuple[int, int], generator: torch.Generator | None = None) -> Tensor:
    """Numbers of a distribution as `initial_weights` describes it: "uniform", "normal" or "sparse"."""
    kind, size = distribution
    if kind == "uniform":
        return size * (2.0 * torch.rand(shape, generator=generator) - 1.0)
    values = size * torch.randn(shape, generator=generator)
    return values * (torch.rand(shape, generator=generator) >= 0.8) if kind == "sparse" else values


def normalized(weights: Tensor, how: str) -> Tensor:
    """Weights (B, in, out) after one of `NORMALIZATIONS`, each row of the batch by itself."""
    if how == "max":
        largest = weights.abs().amax((1, 2), keepdim=True)
        return weights / torch.where(largest > 0, largest, torch.ones_like(largest))
    return weights.clamp(-1.0, 1.0) if how == "clip" else weights
