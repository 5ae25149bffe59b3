import jax
import numpy as np
import pytest

from policies.population import GRU, LSTM, MLP, NETWORKS, ON_IMAGES, DenseSNN, make_network
from trainers.devices import use_all_cores

use_all_cores()


def _count(network) -> int:
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0))))


@pytest.mark.parametrize(
    ("cls", "hopper", "walker", "humanoid"),
    [(GRU, 206851, 212230, 386321), (LSTM, 72067, 75526, 191121), (MLP, 3843, 6150, 66065), (DenseSNN, 69120, 71424, 131328)],
)
def test_published_parameter_counts(cls, hopper: int, walker: int, humanoid: int) -> None:
    assert [_count(cls(d, a)) for d, a in ((11, 3), (17, 6), (240, 17))] == [hopper, walker, humanoid]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ON_IMAGES])
def test_every_network_keeps_its_carry_and_works_as_a_population(name: str) -> None:
    network = make_network(name, 5, 2)
    keys = jax.random.split(jax.random.key(0), 4)
    params, carry = jax.vmap(network.init)(keys), jax.vmap(network.initial_carry)(keys)
    obs = jax.random.normal(jax.random.key(1), (4, 5))
    after, outputs = jax.vmap(network.apply)(params, carry, obs)
    assert outputs.shape == (4, 2)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), carry)
    alone = [network.apply(*jax.tree.map(lambda x, i=i: x[i], (params, carry)), obs[i])[1] for i in range(4)]
    np.testing.assert_allclose(outputs, np.stack(alone), atol=1e-5)
    assert all(value.shape == () for value in network.metrics(network.initial_carry(keys[0])).values())


def test_gru_and_lstm_are_torchs() -> None:
    import torch

    rng = np.random.default_rng(0)
    xs = rng.normal(size=(6, 3)).astype(np.float32)
    for network, cell in ((GRU(3, 2, 4), torch.nn.GRU(3, 4)), (LSTM(3, 2, 4), torch.nn.LSTM(3, 4))):
        params = network.init(jax.random.key(0))
        params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
        with torch.no_grad():
            cell.weight_ih_l0.copy_(torch.as_tensor(params["x"].T.copy()))
            cell.weight_hh_l0.copy_(torch.as_tensor(params["h"].T.copy()))
            cell.bias_ih_l0.copy_(torch.as_tensor(params["b"]))
            cell.bias_hh_l0.zero_()
            if "candidate_b" in params:
                cell.bias_hh_l0[-4:].copy_(torch.as_tensor(params["candidate_b"]))
            hidden = cell(torch.as_tensor(xs)[:, None])[0][:, 0].numpy()
        carry = network.initial_carry(jax.random.key(1))
        for x, h in zip(xs, hidden, strict=True):
            carry, y = network.apply(params, carry, x)
            np.testing.assert_allclose(y, h @ params["out"] + params["out_b"], atol=1e-5)


def test_dense_snn_follows_a_numpy_loop() -> None:
    for signed, dale in ((False, False), (True, True)):
        network = DenseSNN(4, 2, num_neurons=32, signed_inputs=signed, dale=dale)
        params, carry = network.init(jax.random.key(0)), network.initial_carry(jax.random.key(1))
        weights = {k: np.abs(v) if dale else np.asarray(v, float) for k, v in params.items()}
        sign = np.where(np.arange(32) < 16, 1, -1) if dale else np.ones(32)
        v, i_syn, r, s = np.asarray(carry.neurons.v, float), np.zeros(32), np.zeros(32), np.zeros(32)
        rng, fired = np.random.default_rng(0), 0
        for _ in range(10):
            x = rng.normal(size=4).astype(np.float32)
            doubled = np.concatenate([x, -x]) if signed else x
            for _ in range(33):
                i_syn = np.exp(-0.1) * i_syn + 2 * np.sqrt(2 / 32) * (s @ weights["h"])
                drive = i_syn + np.sqrt(2 / 4) * (doubled @ weights["in"])
                v = np.exp(-0.05) * v + (1 - np.exp(-0.05)) * drive
                s = sign * (v > 1)
                v = np.where(v > 1, 0, v)
                r = np.exp(-0.05) * r + (1 - np.exp(-0.05)) * s / 0.5
                fired += np.abs(s).sum()
            carry, y = network.apply(params, carry, x)
            np.testing.assert_array_equal(carry.spikes, s)
            np.testing.assert_allclose(y, 5 * np.sqrt(1 / 32) * (r @ weights["out"]), atol=1e-3)
        assert fired > 0


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'RSNNPolicy'"):
        make_network("RSNPolicy", 3, 1)
    with pytest.raises(ValueError, match="Did you mean 'num_neurons'"):
        make_network("rsnn", 3, 1, neurons=4)
