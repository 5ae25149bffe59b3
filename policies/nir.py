"""Export of spiking policies to NIR, the neuromorphic intermediate representation (Pedersen et al., Nature Communications
2024, arXiv 2311.14641), which simulators and neuromorphic hardware read. Needs the extra `nir`."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.torch_layers import BatchRenorm
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import get_action_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor

from policies.decoders import DECODERS, AdaptiveDecoder, Decoder, LateralDecoder, MembraneDecoder, PopulationDecoder
from policies.encoders import ENCODERS, AdaptiveEncoder, DirectEncoder, Encoder
from policies.equations import neurons as equations
from policies.neurons import Neurons
from policies.sb3.common import SpikingPolicy, acting_net
from policies.sb3.recurrent import SpikingRecurrentPolicy
from policies.spiking import SpikingNet

try:
    import nir
except ImportError as error:
    raise ImportError("Export to NIR needs the package nir: pip install 'spikegym[nir]'.") from error

Array = np.ndarray[Any, Any]
Nodes = dict[str, nir.NIRNode]
Loop = tuple[str, nir.NIRNode, str, str]
"""Name and node of a feedback connection, the node that it comes from and the one that it goes to."""


def to_nir(source: Any, dt: float = 1e-4, coders: bool = True) -> nir.NIRGraph:
    """The acting network of a policy as a NIR graph.

    The graph's nodes "encoder", "core" and "decoder" are graphs themselves. The core, all layers that spike, takes the
    encoder's currents of one step (size,) and gives the last layer's spikes of that step, 0 or 1. An edge is within one
    step; one that closes a cycle ("lateral_i", "reset_i") brings what its node gave in the step before, 0 in the first.
    NIR has no time axis, so parts are joined by an edge only where both run step by step; otherwise they end in an
    `Output` and begin at an `Input` of their own, and their metadata says what happens in between:

        adaptive encoder      one `Affine` (S) -> (T * S), once per observation; its row t * S + j is feature j at step t
        direct encoder        nothing: the observation is the current of every step
        adaptive decoder      one `Affine` (T * H) -> (A), once after the last step; its column t * H + j is neuron j at t
        rate, population      an `Affine` at every step; the mean over the steps is the output
        membrane, lateral     an `Affine` and an `LI` (`I` for decay 1) at every step; metadata "read": last, max or mean

    NIR's equations have seconds; ours have steps. With decays per step d and

        tau = dt / (1 - d)        r = tau_mem / dt        w_in = tau_syn / dt        v_leak = v_reset = 0

    Euler's method with step `dt`, the synapse before the membrane, turns NIR's LIF (without I) and CubaLIF into ours:

        I <- I + dt / tau_syn * (-I + w_in * x)           =  d_syn * I + x
        v <- v + dt / tau_mem * (v_leak - v + r * I)      =  d_mem * v + I
        s = v > v_threshold,  then v <- v_reset where s

    from I = v = 0. Potentials are counted from rest: v_threshold is v_th - v_rest. The gain 1 / tau_mem of our LIF, whose
    d_mem is 1 - 1 / tau_mem, is in the weights and biases before it (rounded to float32; exact for powers of two).
    Learned decays give one tau per neuron. Readers that take exp(-dt / tau) as decay give other results.

    NIR's neurons know hard resets only. A soft reset is `LI` -> `Threshold`, whose spike a `Scale` takes back in the next
    step as -d_mem * (v_th - v_rest); "none" is the same without it. A synapse is another `LI` before the membrane's.

    `snntorch.import_nir.import_from_nir(graph.nodes["core"])` loads cores with hard resets and without lateral connections
    (snnTorch 1.0.0 wires what is recurrent wrongly). It reads every file with a step of 1e-4 s, the default of `dt`.

    :param source: a `SpikingNet`, a spiking policy, or an algorithm that has one. Only an algorithm knows its
        `VecNormalize`, whose constants are put into the metadata. A policy's features are its flattened observations.
    :param dt: seconds of one step
    :param coders: False gives the core alone, for encoders that NIR cannot say and coders that run elsewhere. CrossQ's
        normalisation of features is in the encoder.
    :return: the graph. Metadata: "dt" (s), "n_timesteps", "encoder", "decoder", "neuron", "reset", "stateful" (potentials
        persist between observations), and of policies "observation_space", "action_space" (as text, with "low" and "high"
        of boxes), "preprocessing", "action" (how outputs become actions) and "normalisation".
    :raises TypeError: if `source` has no `SpikingNet`
    :raises ValueError: for what NIR cannot say: ALIF neurons, refractory steps, decays outside [0, 1), encoders other than
        "adaptive" and "direct", features extractors other than `FlattenExtractor`
    """
    if not 0.0 < dt < float("inf"):
        raise ValueError(f"dt={dt} must be a positive number of seconds.")
    policy = source.policy if isinstance(source, BaseAlgorithm) else source
    if isinstance(policy, SpikingNet):
        net = policy
    elif isinstance(policy, SpikingPolicy):
        net = acting_net(policy)
    else:
        raise TypeError(f"NIR export takes a SpikingNet, a spiking policy or its algorithm, not {type(policy).__name__}.")
    neurons: Any = net.layers[0].neurons
    metadata = {
        "dt": dt,
        "n_timesteps": net.n_timesteps,
        "encoder": _name(net.encoder, ENCODERS),
        "decoder": _name(net.decoder, DECODERS),
        "neuron": neurons.neuron,
        "reset": neurons.reset,
        "stateful": False,
    }
    if isinstance(policy, SpikingPolicy):
        metadata |= _policy_metadata(policy)
    if isinstance(source, BaseAlgorithm):
        metadata |= _normalisation(source)
    core = _core(net, dt)
    if not coders:
        core.metadata = metadata
        return core
    normalised = [] if policy is net else [m for m in _acting(policy).modules() if isinstance(m, BatchRenorm)]
    parts = {"encoder": _encoder(net.encoder, normalised), "core": core, "decoder": _decoder(net.decoder, dt)}
    return _joined(parts, metadata)


def export_nir(source: Any, path: str | PathLike[str], dt: float = 1e-4, coders: bool = True) -> None:
    """Write `to_nir(source, dt, coders)` to a file, which `nir.read` reads."""
    nir.write(path, to_nir(source, dt, coders))


def _core(net: SpikingNet, dt: float) -> nir.NIRGraph:
    hidden: list[Any] = [*net.layers, *([net.decoder] if isinstance(net.decoder, PopulationDecoder) else [])]
    chain: Nodes = {}
    loops: list[Loop] = []
    for i, layer in enumerate(hidden):
        neurons, resets, gain = _neurons(layer.neurons, dt, i)
        names = list(neurons)
        bias = layer.linear.bias
        if isinstance(layer, LateralDecoder):
            bias = bias + layer.lateral_bias
            weight = _array(torch.block_diag(*layer.lateral.transpose(1, 2)))
            loops.append((f"lateral_{i}", nir.Linear(_float32(gain[:, None] * weight)), names[-1], names[0]))
        chain[f"weights_{i}"] = _affine(gain[:, None] * _array(layer.linear.weight), gain * _array(bias))
        chain |= neurons
        loops += resets
    return _graph(net.encoder.size, chain, {}, loops)


def _neurons(neurons: Neurons, dt: float, i: int) -> tuple[Nodes, list[Loop], Array]:
    """A layer's nodes, its reset if that is a connection, and the gain (N,) by which its currents must be multiplied."""
    c: Any = neurons.constants
    if not isinstance(c, equations.LIF | equations.SynapticLIF):
        raise ValueError(f"NIR cannot say a neuron '{neurons.neuron}'; train with neuron='lif' or 'synaptic_lif' to export.")
    if neurons.refractory:
        raise ValueError("NIR cannot say refractory steps; train with refractory=0 to export.")
    fixed = (
        {"decay_mem": 1.0 - 1.0 / c.tau_mem}
        if isinstance(c, equations.LIF)
        else {"decay_mem": c.decay_mem, "decay_syn": c.decay_syn}
    )
    decays = {name: np.full(neurons.size, decay) for name, decay in fixed.items()}
    decays |= {name: _array(torch.sigmoid(logit)) for name, logit in neurons.decay_logits.items()}
    for name, decay in decays.items():
        if (wrong := decay[(decay < 0.0) | (decay >= 1.0)]).size:
            raise ValueError(f"A {name} of {wrong[0]} per step has no time constant in NIR; it must be in [0, 1).")
    decay, synaptic = decays["decay_mem"], "decay_syn" in decays
    gain = np.ones_like(decay) if synaptic else 1.0 - decay
    threshold = np.full_like(decay, c.v_th - c.v_rest)
    if neurons.reset != "hard":
        chain: Nodes = {f"synapse_{i}": _integrator(decays["decay_syn"], dt)} if synaptic else {}
        chain |= {f"membrane_{i}": _integrator(decay, dt), f"spikes_{i}": nir.Threshold(threshold)}
        loop = (f"reset_{i}", nir.Scale(-decay * threshold), f"spikes_{i}", f"membrane_{i}")
        return chain, [loop] if neurons.reset == "soft" else [], gain
    zeros = np.zeros_like(decay)
    membrane = {"r": 1.0 / (1.0 - decay), "v_leak": zeros, "v_threshold": threshold, "v_reset": zeros}
    tau = dt / (1.0 - decay)
    if not synaptic:
        return {f"neurons_{i}": nir.LIF(tau=tau, **membrane)}, [], gain
    w_in = 1.0 / (1.0 - decays["decay_syn"])
    return {f"neurons_{i}": nir.CubaLIF(tau_mem=tau, tau_syn=dt * w_in, w_in=w_in, **membrane)}, [], gain


def _integrator(decay: Array, dt: float) -> nir.NIRNode:
    """v <- decay * v + input at every step."""
    if (decay == 1.0).all():
        return nir.I(r=np.full_like(decay, 1.0 / dt))
    return nir.LI(tau=dt / (1.0 - decay), r=1.0 / (1.0 - decay), v_leak=np.zeros_like(decay))


def _encoder(encoder: Encoder, normalised: list[BatchRenorm]) -> nir.NIRGraph:
    """:param normalised: what CrossQ's policy does with its features before they are encoded"""
    chain: Nodes = {}
    for i, norm in enumerate(normalised):
        mean, var, scale, shift = map(_array, (norm.ra_mean, norm.ra_var, norm.scale, norm.bias))
        scale = scale / np.sqrt(var + norm.eps)
        chain[f"normalise_{i}"] = _affine(np.diag(scale), shift - mean * scale)
    if isinstance(encoder, AdaptiveEncoder):
        if encoder.time_only:
            weight = np.concatenate([np.diag(w) for w in _array(encoder.weight)[:, 0]])
            chain["weights"] = _affine(weight, _array(encoder.bias).reshape(-1))
        else:
            chain["weights"] = _affine(_array(encoder.map.weight), _array(encoder.map.bias))
        about = {"runs": "once per observation", "layout": f"row t * {encoder.size} + j is current j at step t"}
    elif isinstance(encoder, DirectEncoder):
        about = {"runs": "at every step, on the same observation"}
    else:
        raise ValueError(
            f"NIR cannot say the encoder '{_name(encoder, ENCODERS)}'; export the spiking core alone with coders=False, "
            "or train with encoder='adaptive' or 'direct'."
        )
    return _graph(encoder.features, chain, about)


def _decoder(decoder: Decoder, dt: float) -> nir.NIRGraph:
    steps = {"runs": "at every step"}
    if isinstance(decoder, PopulationDecoder):
        weights = _affine(_array(torch.block_diag(*decoder.weight)), _array(decoder.bias))
    else:
        linear: Any = decoder.map
        weights = _affine(_array(linear.weight), _array(linear.bias))
    chain: Nodes = {"weights": weights}
    if isinstance(decoder, MembraneDecoder | LateralDecoder):
        chain["membrane"] = _integrator(np.full(decoder.outputs, decoder.decay), dt)
        about = steps | {"read": decoder.read if isinstance(decoder, MembraneDecoder) else "last"}
    elif isinstance(decoder, AdaptiveDecoder):
        about = {"runs": "once after the last step", "layout": "column t * H + j is the spike of neuron j of H at step t"}
    else:
        about = steps | {"read": "mean"}
    return _graph(weights.weight.shape[1], chain, about)


def _graph(size: int, chain: Nodes, metadata: dict[str, Any], loops: Sequence[Loop] = ()) -> nir.NIRGraph:
    """Nodes one after the other, and connections back."""
    last = list(chain.values())[-1].output_type["output"] if chain else np.array([size])
    nodes = {"input": nir.Input(np.array([size])), **chain, "output": nir.Output(np.array(last))}
    edges = list(pairwise(nodes))
    for name, node, start, end in loops:
        nodes[name] = node
        edges += [(start, name), (name, end)]
    return nir.NIRGraph(nodes, edges, metadata)


def _joined(parts: Mapping[str, nir.NIRGraph], metadata: dict[str, Any]) -> nir.NIRGraph:
    """Parts one after the other, with edges where one's outputs of a step are the next one's inputs."""
    first, *_, last = parts.values()
    chain: Nodes = {"input": nir.Input(first.input_type["input"]), **parts, "output": nir.Output(last.output_type["output"])}
    nodes, edges = dict(chain), []
    for (a, before), (b, after) in pairwise(chain.items()):
        given, taken = before.output_type["output"], after.input_type["input"]
        if np.array_equal(given, taken):
            edges.append((a, b))
        else:
            nodes |= {f"{a}_output": nir.Output(given), f"{b}_input": nir.Input(taken)}
            edges += [(a, f"{a}_output"), (f"{b}_input", b)]
    return nir.NIRGraph(nodes, edges, metadata)


def _policy_metadata(policy: Any) -> dict[str, Any]:
    extractor = next(m for m in _acting(policy).modules() if isinstance(m, BaseFeaturesExtractor))
    if type(extractor) is not FlattenExtractor:
        raise ValueError(
            f"NIR export cannot say the features extractor {type(extractor).__name__}; train on flat observations, or export "
            "the SpikingNet behind it, policies.sb3.common.acting_net(policy), and compute its features elsewhere."
        )
    space = policy.observation_space
    discrete = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    image = policy.normalize_images and is_image_space(space)
    return {
        "observation_space": _space(space),
        "preprocessing": "one-hot" if discrete else "divide by 255, flatten" if image else "flatten",
        "action_space": _space(policy.action_space),
        "action": _action(policy),
        "stateful": policy.spiking_options["stateful"] or isinstance(policy, SpikingRecurrentPolicy),
    }


def _acting(policy: Any) -> Any:
    return getattr(policy, "actor", policy)


def _space(space: spaces.Space[Any]) -> dict[str, Any]:
    return {"space": str(space)} | ({"low": space.low, "high": space.high} if isinstance(space, spaces.Box) else {})


def _action(policy: Any) -> str:
    """How the network's outputs become the action of `predict(deterministic=True)`."""
    space = policy.action_space
    if isinstance(space, spaces.Box):
        first = f"the first {get_action_dim(space)} outputs"
        if policy.squash_output:
            return f"tanh of {first}, scaled from [-1, 1] to [low, high]"
        return f"{first}, clipped to [low, high]"
    if isinstance(space, spaces.MultiBinary):
        return "1 where an output is positive, else 0"
    if isinstance(space, spaces.MultiDiscrete):
        return f"outputs in groups of {', '.join(map(str, space.nvec))}; in each group the index of the largest"
    if hasattr(policy, "quantile_net"):
        return f"outputs as {policy.n_quantiles} rows of {space.n}; the index of the largest mean of a column"
    return "the index of the largest output"


def _normalisation(algorithm: BaseAlgorithm) -> dict[str, Any]:
    env: Any = algorithm.get_vec_normalize_env()
    if env is None or not env.norm_obs:
        return {}
    rule = "clip((observation - mean) / sqrt(var + epsilon), -clip, clip), before preprocessing"
    constants = {"mean": env.obs_rms.mean, "var": env.obs_rms.var, "epsilon": env.epsilon, "clip": env.clip_obs}
    return {"normalisation": {"rule": rule} | constants}


def _name(part: Any, table: Mapping[str, type[Any]]) -> str:
    return next(name for name, kind in table.items() if type(part) is kind)


def _affine(weight: Array, bias: Array) -> nir.Affine:
    return nir.Affine(weight=_float32(weight), bias=_float32(bias))


def _array(x: Any) -> Array:
    out: Array = x.detach().cpu().double().numpy()
    return out


def _float32(x: Array) -> Array:
    return x.astype(np.float32)
