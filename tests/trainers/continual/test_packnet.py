"""PackNet: who owns which weight, and what an owner may rely on."""

from typing import Any

import numpy as np
import pytest
import torch

from trainers.continual.methods.base import Activation
from trainers.continual.methods.packnet import FREE, PackNet, pack

STATES = torch.as_tensor(np.random.default_rng(0).uniform(-2, 2, (20, 5)).astype(np.float32))


def test_the_largest_free_weights_are_given_away() -> None:
    kernel = torch.nn.Parameter(torch.tensor([[4.0, -3.0, 2.0], [-9.0, 0.5, 1.0]]))
    owner = torch.tensor([[FREE, FREE, FREE], [0, FREE, FREE]])
    pack(kernel, owner, 1, 0.4)  # two of five
    assert owner.tolist() == [[1, 1, FREE], [0, FREE, FREE]]
    assert kernel.tolist() == [[4.0, -3.0, 0.0], [-9.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("policy", "kwargs"),
    [
        ("MlpPolicy", {"activation_fn": Activation}),
        ("SpikingPolicy", {}),
        ("SpikingPolicy", {"encoder": "population", "decoder": "population"}),
    ],
)
def test_every_task_gets_the_same_share_and_keeps_it(policy: str, kwargs: dict, actors, learn) -> None:
    torch.manual_seed(0)
    kwargs = {"net_arch": [12, 16]} | kwargs
    method: Any = PackNet(actors(policy, **kwargs), 4, retrain_updates=4, max_grad_norm=1.0)
    kernels = method._kernels(method.actor)
    heads = policy == "MlpPolicy"
    assert all(p.dim() == 2 and "weight" in name for name, p in kernels.items())
    assert not any(name.startswith(("mu", "log_std")) for name in kernels)
    biases: dict[str, torch.Tensor] = {}
    owned: dict[str, torch.Tensor] = {}
    acts: list[torch.Tensor] = []
    for task in range(4):
        learn(method, task, policy=policy, policy_kwargs=kwargs)
        for name, parameter in method.actor.named_parameters():
            if name in kernels:
                owner = method.owner(name)
                assert abs(int((owner == task).sum()) - owner.numel() / 4) <= 1
                if task > 0:
                    assert torch.equal(owner[owned[name] != FREE], owned[name][owned[name] != FREE])
                assert (parameter[owner == FREE] == 0).all()
                owned[name] = owner.clone()
            elif not (heads and name.startswith(("mu", "log_std"))):
                assert torch.equal(biases.setdefault(name, parameter.detach().clone()), parameter), name
        with torch.no_grad():
            torch.manual_seed(1)
            acts.append(method.actor_for(task)(STATES, deterministic=True))
            torch.testing.assert_close(method.actor(STATES, deterministic=True), acts[task], rtol=0, atol=0)
            for i in range(task):
                assert torch.equal(method.actor_for(i)(STATES, deterministic=True), acts[i])
                assert not torch.equal(acts[i], acts[task])
    assert all((method.owner(name) != FREE).all() for name in kernels)


def test_a_task_learns_in_free_weights_and_its_own_alone_after_packing(actors, learner, judge) -> None:
    torch.manual_seed(0)
    method = PackNet(actors(), 2, retrain_updates=3, max_grad_norm=None)
    method.before_task(0, judge())
    model = learner(method).learn(40)
    at_packing: dict[str, torch.Tensor] = {}
    train = model.train

    def watched(*args: Any) -> None:
        at_packing.update({name: p.detach().clone() for name, p in method.actor.named_parameters()})
        train(*args)

    model.train = watched
    method.after_task(model, judge())
    for name, parameter in method._kernels(method.actor).items():
        own = method.owner(name) == 0
        assert (parameter != at_packing[name])[own].any()
        assert (parameter[~own] == 0).all()
    assert not torch.equal(method.actor.latent_pi[0].bias, at_packing["latent_pi.0.bias"])  # in the first task these learn


def test_gradients_are_masked_before_they_are_shortened(actors, judge) -> None:
    method = PackNet(actors(), 2, retrain_updates=0, max_grad_norm=0.5)
    method.before_task(0, judge())
    kernel = method.actor.latent_pi[2].weight
    method.owner("latent_pi.2.weight")[:8] = 0
    for parameter in method.actor.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert kernel.grad is not None
    kernel.grad.fill_(1.0)
    method.constrain()
    assert (kernel.grad[:8] == 0).all()
    torch.testing.assert_close(kernel.grad[8:], torch.full((8, 16), 0.5 / 128**0.5))
