"""What a decision of a spiking policy costs, counted while it acts, beside a network without spikes of the same sizes.

Synapses that real numbers pass cost a multiplication (MAC), synapses that spikes pass an addition (AC) for each spike that
does pass:

* Whatever an encoder gives other than spikes is real; the same current at every step is multiplied once a decision.
* A spike of a layer costs one AC for each neuron that it reaches in the next one. Decoders are linear in the spikes, so
  they too add up weights (a rate decoder's 1 / T is part of its weights). A lateral decoder's neurons also reach those of
  the same action, in the step after.
* Layers before the network (a NatureCNN) are MACs with and without spikes. Only linear and convolutional ones are counted.
* A population encoder's receptive fields cost two MACs each, their exponential nothing. Biases are not counted.
* The neurons' own updates are counted on demand: for each neuron and step a MAC for each of its decays, and for the shift
  of an adaptive threshold.
"""

import copy
import itertools
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor

from policies.decoders import LateralDecoder, MembraneDecoder, PopulationDecoder
from policies.encoders import AdaptiveEncoder, PopulationEncoder
from policies.neurons import Neurons
from policies.spiking import SpikingNet
from policies.watch import Call, Watch, play

E_MAC = 4.6
"""Energy of a multiplication and addition in pJ (32-bit floats, 45 nm; Horowitz, ISSCC 2014)."""
E_AC = 0.9
"""Energy of an addition in pJ."""
UPDATE_MACS = {"lif": 1, "synaptic_lif": 2, "alif": 3}

Means = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class LayerCost:
    """A layer and the synapses that lead to it, per decision.

    :param neurons: of an encoder the numbers or spikes per step that it gives, of a decoder without neurons its outputs
    :param macs: multiplications
    :param synops: additions that spikes caused (synaptic operations)
    :param rate: spikes per neuron and step; None for layers that do not spike, as are the two that follow
    :param silent: fraction of the neurons that never fired
    :param in_window: how often (fraction of neurons and steps) the surrogate's slope was at least a tenth of its peak;
        near zero, little or nothing is learned, be the layer silent or saturated. None for encoders.
    """

    name: str
    neurons: int
    macs: float
    synops: float
    rate: float | None = None
    silent: float | None = None
    in_window: float | None = None


@dataclass(frozen=True)
class EnergyCard:
    """Mean costs of a decision.

    :param ann_macs: multiplications of the network without spikes: the same features and layers, ReLU in between
    :param n_timesteps: steps of the network for a decision
    :param decisions: how many were counted
    """

    layers: tuple[LayerCost, ...]
    ann_macs: float
    n_timesteps: int
    decisions: int
    e_mac: float = E_MAC
    e_ac: float = E_AC

    @property
    def macs(self) -> float:
        return sum(layer.macs for layer in self.layers)

    @property
    def synops(self) -> float:
        return sum(layer.synops for layer in self.layers)

    @property
    def energy_pj(self) -> float:
        return self.macs * self.e_mac + self.synops * self.e_ac

    @property
    def ann_energy_pj(self) -> float:
        return self.ann_macs * self.e_mac

    @property
    def energy_ratio(self) -> float:
        """How many times the spiking network's energy the other one needs; above 1, spikes save energy."""
        return self.ann_energy_pj / self.energy_pj

    def to_dict(self) -> dict[str, Any]:
        """All figures in plain values, as for JSON."""
        names = ("macs", "synops", "energy_pj", "ann_energy_pj", "energy_ratio")
        return asdict(self) | {name: getattr(self, name) for name in names}

    def tags(self) -> dict[str, float]:
        """Figures by TensorBoard tag: spike/rate_layer_0, ..., spike/energy_ratio."""
        out = {f"spike/{name}": getattr(self, name) for name in ("synops", "macs", "energy_pj", "energy_ratio")}
        for layer in self.layers:
            for name in ("rate", "silent", "in_window"):
                if getattr(layer, name) is not None:
                    out[f"spike/{name}_{layer.name.replace(' ', '_')}"] = getattr(layer, name)
        return out

    def __str__(self) -> str:
        head = ("", "neurons", "rate", "silent", "in window", "MAC", "AC", "nJ")
        rows: list[tuple[Any, ...]] = [
            (c.name, c.neurons, c.rate, c.silent, c.in_window, c.macs, c.synops, self._nj(c.macs, c.synops))
            for c in self.layers
        ]
        rows.append(("spiking", "", "", "", "", self.macs, self.synops, self.energy_pj / 1000))
        rows.append(("without spikes", "", "", "", "", self.ann_macs, 0.0, self.ann_energy_pj / 1000))
        formats = ("", ",", ".3f", ".3f", ".3f", ",.0f", ",.0f", ",.2f")
        lines = [f"{head[0]:<15}" + "".join(f"{name:>12}" for name in head[1:])]
        for row in rows:
            cells = [
                "-" if x is None else x if isinstance(x, str) else format(x, f) for x, f in zip(row, formats, strict=True)
            ]
            lines.append(f"{cells[0]:<15}" + "".join(f"{cell:>12}" for cell in cells[1:]))
        lines.append(
            f"Per decision, mean of {self.decisions:,} decisions of {self.n_timesteps} steps; {self.e_mac} pJ per MAC, "
            f"{self.e_ac} pJ per AC.\nWithout spikes {self.energy_ratio:.2f} times the energy."
        )
        return "\n".join(lines)

    def _nj(self, macs: float, synops: float) -> float:
        return (macs * self.e_mac + synops * self.e_ac) / 1000


def count_energy(
    model: Any,
    env: gymnasium.Env[Any, Any] | VecEnv,
    episodes: int = 1,
    steps: int | None = None,
    deterministic: bool = True,
    seed: int | None = None,
    neuron_updates: bool = False,
    e_mac: float = E_MAC,
    e_ac: float = E_AC,
) -> EnergyCard:
    """Let a spiking policy act and count.

    :param model: a model with a spiking policy, or the policy
    :param env: with the wrappers that the policy was trained with (`VecNormalize`)
    :param episodes: to play
    :param steps: stop after this many steps of each environment at the latest
    :param neuron_updates: count the neurons' own updates as well
    :param e_mac: pJ per multiplication and addition
    :param e_ac: pJ per addition
    """
    with Watch(model) as watch:
        tally = Tally(watch)
        for step in play(model, env, episodes, steps, deterministic, seed):
            tally.add(step.counted)
    return tally.card(neuron_updates, e_mac, e_ac)


class Tally:
    """Sums over the calls that a `Watch` sees."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.decisions = 0
        self._encoded = _Layer(watch.net.encoder.size)
        self._layers = [_Layer(neurons.size) for neurons in watch.neurons]
        self._lateral = 0.0

    def add(self, rows: np.ndarray | None = None) -> None:
        """Count the last call, if there was one; `rows` (B,) says which of its observations."""
        call = self.watch.take()
        if call is None:
            return
        kept = torch.ones(call.encoded.shape[1], dtype=torch.bool) if rows is None else torch.as_tensor(rows)
        kept = kept.to(call.encoded.device)
        self.decisions += int(kept.sum())
        if self.watch.net.encoder.spikes:
            self._encoded.add(call.encoded[:, kept])
        for sums, fired, neurons in zip(self._layers, call.layers, self.watch.neurons, strict=True):
            sums.add(fired.spikes[:, kept], fired.distances[:, kept], neurons)
        if isinstance(self.watch.net.decoder, LateralDecoder):
            self._lateral += _lateral_spikes(call, kept)

    def card(self, neuron_updates: bool = False, e_mac: float = E_MAC, e_ac: float = E_AC) -> EnergyCard:
        """The means so far."""
        net, t, n = self.watch.net, self.watch.net.n_timesteps, max(self.decisions, 1)
        layers = []
        if self.watch.features_macs:
            layers.append(LayerCost("features", net.encoder.features, self.watch.features_macs, 0.0))
        macs, synops = _encoding(net, neuron_updates)
        rate, silent, _ = self._encoded.means()
        layers.append(LayerCost("encoder", net.encoder.size, macs, synops, rate, silent))
        real = 0 if net.encoder.spikes else net.encoder.size * (1 if net.encoder.constant else t)
        spikes = self._encoded.spikes / n
        for i, (layer, sums) in enumerate(zip(net.spiking_layers(), self._layers, strict=False)):
            size = sums.size
            updates = t * size * UPDATE_MACS[layer.neurons.neuron] if neuron_updates else 0
            layers.append(LayerCost(f"layer {i}", size, real * size + updates, spikes * size, *sums.means()))
            real, spikes = 0, sums.spikes / n
        macs, synops, means = self._decoding(neuron_updates, spikes)
        own = net.decoder.neurons.size if isinstance(net.decoder, PopulationDecoder) else net.decoder.outputs
        layers.append(LayerCost("decoder", own, macs, synops, *means))
        sizes = [net.encoder.features, *(sums.size for sums in self._layers[: len(net.layers)]), net.decoder.outputs]
        ann_macs = self.watch.features_macs + sum(a * b for a, b in itertools.pairwise(sizes))
        return EnergyCard(tuple(layers), float(ann_macs), t, self.decisions, e_mac, e_ac)

    def _decoding(self, neuron_updates: bool, spikes: float) -> tuple[float, float, Means]:
        """Operations of the decoder that receives so many spikes in a decision, and the means of its own neurons."""
        decoder, t = self.watch.net.decoder, self.watch.net.n_timesteps
        macs, synops = 0.0, spikes * decoder.outputs
        means: Means = (None, None, None)
        if isinstance(decoder, PopulationDecoder):
            own = self._layers[-1]
            n = max(self.decisions, 1)
            synops = spikes * own.size + own.spikes / n + self._lateral / n * decoder.n_pop
            means = own.means()
            if neuron_updates:
                macs += t * own.size * UPDATE_MACS[decoder.neurons.neuron]
        if neuron_updates and isinstance(decoder, MembraneDecoder | LateralDecoder):
            macs += t * decoder.outputs
        return macs, synops, means


class _Layer:
    """Sums over a layer of spikes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.spikes = self.near = 0.0
        self.chances = 0  # neurons times steps
        self.fired: Tensor | None = None

    def add(self, spikes: Tensor, distances: Tensor | None = None, neurons: Neurons | None = None) -> None:
        """Count spikes (T, B, N) and how far their neurons were from the threshold."""
        if not spikes.numel():
            return
        self.spikes += float(spikes.sum())
        self.chances += spikes.numel()
        fired = spikes.flatten(0, 1).any(0)
        self.fired = fired if self.fired is None else self.fired | fired
        if distances is not None and neurons is not None:
            slope = neurons.surrogate.derivative(distances.clone())
            peak = neurons.surrogate.derivative(torch.zeros_like(distances[:1, :1, :1]))
            self.near += float((slope >= 0.1 * peak).sum())

    def means(self) -> Means:
        """Rate, silent fraction, fraction in the surrogate's window."""
        if self.fired is None:
            return None, None, None
        return self.spikes / self.chances, 1.0 - float(self.fired.float().mean()), self.near / self.chances


def _encoding(net: SpikingNet, neuron_updates: bool) -> tuple[float, float]:
    """MACs and ACs of the encoder in a decision."""
    encoder, t = net.encoder, net.n_timesteps
    if isinstance(encoder, AdaptiveEncoder):
        return float(t * encoder.features * (1 if encoder.time_only else encoder.features)), 0.0
    if isinstance(encoder, PopulationEncoder):
        integrates = neuron_updates and encoder.coding == "deterministic"
        return 2.0 * encoder.size, float(t * encoder.size) if integrates else 0.0
    return 0.0, 0.0


def _lateral_spikes(call: Call, kept: Tensor) -> float:
    """Spikes that reach other neurons of a lateral decoder in this decision; the last step's come in the next, if at all."""
    spikes = float(call.layers[-1].spikes[:-1, kept].sum())
    return spikes if call.carried is None else spikes + float(call.carried[kept].sum())


class EnergyCallback(BaseCallback):
    """Logs the energy card's figures (`EnergyCard.tags`) while a model learns; the last card is `card`.

    :param eval_env: environment to play `episodes` episodes in. None: count the decisions of the training itself, as it
        explores, over the last `steps` calls before each entry; that plays no further steps. ARS acts with copies of its
        policy and needs an `eval_env`.
    :param freq: calls of `env.step` between entries, as EvalCallback's `eval_freq`
    :param neuron_updates: count the neurons' own updates as well
    """

    def __init__(
        self,
        eval_env: gymnasium.Env[Any, Any] | VecEnv | None = None,
        freq: int = 10_000,
        episodes: int = 1,
        steps: int = 500,
        neuron_updates: bool = False,
        e_mac: float = E_MAC,
        e_ac: float = E_AC,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        for name, value in (("freq", freq), ("episodes", episodes), ("steps", steps)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
        self.eval_env, self.freq, self.episodes, self.steps = eval_env, freq, episodes, min(steps, freq)
        self.counting: dict[str, Any] = {"neuron_updates": neuron_updates, "e_mac": e_mac, "e_ac": e_ac}
        self.card: EnergyCard | None = None
        self._tally: Tally | None = None

    def _on_training_start(self) -> None:
        Watch(self.model)  # says at once if there is nothing to count
        self._listen()

    def _on_step(self) -> bool:
        if self._tally is not None:
            self._tally.add()
        if self.n_calls % self.freq == 0:
            self._log()
        self._listen()
        return True

    def _on_training_end(self) -> None:
        self._stop()

    def _listen(self) -> None:
        """Watch the training from `steps` calls before the next entry on."""
        if self.eval_env is None and self._tally is None and self.n_calls % self.freq >= self.freq - self.steps:
            self._tally = Tally(Watch(self.model).__enter__())

    def _stop(self) -> None:
        if self._tally is not None:
            self._tally.watch.__exit__()
            self._tally = None

    def _log(self) -> None:
        if self.eval_env is not None:
            self._share_normalization()
            self.card = count_energy(self.model, self.eval_env, self.episodes, **self.counting)
        else:
            tally = self._tally
            self._stop()
            if tally is None or not tally.decisions:  # actions were drawn at random so far
                return
            self.card = tally.card(**self.counting)
        for tag, value in self.card.tags().items():
            self.logger.record(tag, value)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.verbose:
            print(self.card)

    def _share_normalization(self) -> None:
        ours = self.model.get_vec_normalize_env()
        theirs = unwrap_vec_normalize(self.eval_env) if isinstance(self.eval_env, VecEnv) else None
        if (ours is None) != (theirs is None):
            raise ValueError("Wrap eval_env in VecNormalize exactly if the training's environment is.")
        if ours is not None and theirs is not None:
            theirs.obs_rms = copy.deepcopy(ours.obs_rms)
