"""Layers of spiking neurons for torch: whole sequences of currents in, spikes out.

Sequences are time first, (T, B, N); a state is a tuple of tensors (B, N) and None means at rest.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from policies.equations import neurons as equations
from policies.fused import Constants, filtered, spiking
from policies.names import choose, nearest
from policies.surrogate import Surrogate

State = tuple[Tensor, ...]
Step = Callable[[State, Tensor], tuple[State, Tensor]]

NEURONS: dict[str, type[Any]] = {"lif": equations.LIF, "synaptic_lif": equations.SynapticLIF, "alif": equations.ALIF}
"""Name of a neuron -> its constants."""


def unroll(step: Step, currents: Tensor, state: State, refractory: int = 0) -> tuple[Tensor, State]:
    """Apply `step` to currents (T, B, N) one after the other: spikes (T, B, N) and the last state.

    After a spike a neuron receives no current and cannot fire in the next `refractory` steps. The count of steps that
    are left is the state's last entry when `refractory` is positive.
    """
    spikes = []
    for current in currents:
        if refractory:
            *inner, left = state
            free = (left == 0).to(current.dtype)
            moved, s = step(tuple(inner), current * free)
            s = s * free
            state = (*moved, (left - 1).clamp(min=0) + refractory * s.detach())
        else:
            state, s = step(state, current)
        spikes.append(s)
    return torch.stack(spikes), state


class Neurons(nn.Module):
    """A layer of `size` neurons of one kind.

    :param size: neurons N
    :param neuron: "lif" (ACSF), "synaptic_lif" (PopSAN) or "alif" (adaptive threshold)
    :param surrogate: a name of `policies.surrogate.SURROGATES`
    :param surrogate_width: how far from the threshold gradients reach (default: the surrogate's own)
    :param reset: "hard", "soft" or "none"
    :param refractory: steps after a spike without current and spikes
    :param learnable: learn the decays of every neuron (as logits, so that they stay in (0, 1))
    :param detach_reset: let no gradient pass through the reset
    :param fused: compute whole sequences in one autograd function, which has no second derivatives
    :param constants: fields of the neuron's constants in `policies.equations.neurons`, such as `v_th` or `tau_mem`

    Learnable decays and refractory steps always go through a plain autograd loop.
    """

    def __init__(
        self,
        size: int,
        neuron: str = "lif",
        surrogate: str = "arctan",
        surrogate_width: float | None = None,
        reset: str = "hard",
        refractory: int = 0,
        learnable: bool = False,
        detach_reset: bool = False,
        fused: bool = True,
        **constants: float,
    ) -> None:
        super().__init__()
        kind = choose("neuron", neuron, NEURONS)
        known = list(kind.__dataclass_fields__)
        for name in constants:
            if name not in known:
                raise ValueError(f"A '{neuron}' neuron has no constant '{name}'. {nearest(name, known)}")
        if refractory < 0 or refractory != int(refractory):
            raise ValueError(f"refractory={refractory} must be a whole number of steps, 0 or more.")
        for name, value in constants.items():
            if name.startswith("tau") and not 0 < value < math.inf:
                raise ValueError(f"{name}={value} must be positive and finite.")
        self.size = size
        self.neuron = neuron
        self.constants = kind(**constants)
        for name, decay in _decays(self.constants).items():
            if not (0.0 < decay < 1.0 if learnable else 0.0 <= decay <= 1.0):
                allowed = "(0, 1) to be learned" if learnable else "[0, 1]"
                raise ValueError(f"{self.constants} has {name}={decay:g} per step, which must be in {allowed}.")
        self.surrogate = Surrogate(surrogate, surrogate_width)
        self.reset = reset
        self.refractory = int(refractory)
        self.detach_reset = detach_reset
        self._reset = choose("reset", reset, equations.RESETS)
        self.fused = fused and not learnable and not refractory
        self._fused = _fused_constants(self.constants, reset, detach_reset)
        self.decay_logits = nn.ParameterDict()
        if learnable:
            for name, decay in _decays(self.constants).items():
                self.decay_logits[name] = nn.Parameter(torch.full((size,), math.log(decay / (1.0 - decay))))

    @property
    def state_size(self) -> int:
        """How many tensors (B, N) a state has."""
        return (1 if self.neuron == "lif" else 2) + (1 if self.refractory else 0)

    def rest(self, like: Tensor) -> State:
        """The state at rest for currents (..., B, N)."""
        v = torch.full_like(like, self.constants.v_rest)
        return (v, *(torch.zeros_like(like) for _ in range(self.state_size - 1)))

    def forward(self, currents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Spikes (T, B, N), floats 0 or 1, under currents (T, B, N), and the state after the last step."""
        if not self.fused:
            return unroll(self.step, currents, self.rest(currents[0]) if state is None else state, self.refractory)
        v, second = (None, None) if state is None else (state[0] - self.constants.v_rest, state[-1])
        if self.neuron == "synaptic_lif":
            currents = filtered(currents, second, self.constants.decay_syn)
            spikes, v, _ = spiking(currents, v, None, self._fused, self.surrogate)
            second = currents[-1]
        else:
            spikes, v, second = spiking(currents, v, second, self._fused, self.surrogate)
        if self.constants.v_rest:
            v = v + self.constants.v_rest
        return spikes, (v,) if second is None else (v, second)

    def step(self, state: State, current: Tensor, spike: Callable[[Tensor], Tensor] | None = None) -> tuple[State, Tensor]:
        """One step of the neuron's equation, without refractory steps; `spike` may stand in for the surrogate."""
        c: Any = self._learned() if self.decay_logits else self.constants
        spike = spike or self.surrogate
        if self.neuron == "lif":
            v, s = equations.lif(state[0], current, c, spike, self._apply_reset)
            return (v,), s
        if self.neuron == "alif":
            return equations.alif(equations.ALIFState(*state), current, c, spike, self._apply_reset)
        return equations.synaptic_lif(equations.SynapticLIFState(*state), current, c, spike, self._apply_reset)

    @torch.no_grad()
    def distances(self, currents: Tensor, state: State | None = None) -> Tensor:
        """How far above its threshold (below: negative) every neuron is, (T, B, N), when it is decided whether it fires."""
        seen = []

        def spike(u: Tensor) -> Tensor:
            seen.append(u)
            return (u > 0).to(u.dtype)

        def step(state: State, current: Tensor) -> tuple[State, Tensor]:
            return self.step(state, current, spike)

        unroll(step, currents, self.rest(currents[0]) if state is None else state, self.refractory)
        return torch.stack(seen)

    def _learned(self) -> Any:
        """The constants with the learned decays (N,) in place of their own."""
        decays = {name: torch.sigmoid(logit) for name, logit in self.decay_logits.items()}
        if self.neuron == "lif":
            decays = {"tau_mem": 1.0 / (1.0 - decays["decay_mem"])}
        return SimpleNamespace(**(vars(self.constants) | decays))

    def _apply_reset(self, v: Tensor, s: Tensor, c: Any) -> Tensor:
        out: Tensor = self._reset(v, s.detach() if self.detach_reset else s, c)
        return out

    def extra_repr(self) -> str:
        return f"{self.size}, {self.neuron}, {self.surrogate.name}, reset={self.reset}, {self.constants}"


def _decays(c: Any) -> dict[str, float]:
    """The decays per step of a neuron's constants, by name."""
    if isinstance(c, equations.LIF):
        return {"decay_mem": 1.0 - 1.0 / c.tau_mem}
    names = ("decay_mem", "decay_adapt") if isinstance(c, equations.ALIF) else ("decay_syn", "decay_mem")
    return {name: getattr(c, name) for name in names}


def _fused_constants(c: Any, reset: str, detach_reset: bool) -> Constants:
    decay = _decays(c)["decay_mem"]
    gain = 1.0 if isinstance(c, equations.SynapticLIF) else 1.0 - decay
    adapts = (c.beta, c.decay_adapt) if isinstance(c, equations.ALIF) else (0.0, 0.0)
    return Constants(decay, gain, c.v_th - c.v_rest, reset, detach_reset, *adapts)
