"""Offline learners: what they learn where the best action is known, how they go on, what each mode is made of."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from torch import nn

from policies.sb3.features import NormalizingExtractor
from policies.spiking import SpikingNet
from trainers.checkpoint import CheckpointError
from trainers.offline.bc import BC
from trainers.offline.bcq import BCQ
from trainers.offline.bcq_policy import AdaptiveMlp
from trainers.offline.config import options_of, train_defaults, zoo
from trainers.offline.dataset import Batch, OfflineDataset
from trainers.offline.evaluate import agreement_of
from trainers.offline.iql import IQL
from trainers.offline.run import ALGORITHMS
from trainers.offline.td3_bc import TD3BC

SMALL = {"net_arch": [32, 32]}
STATES = np.stack([np.linspace(-0.8, 0.8, 9), np.zeros(9)], axis=1).astype(np.float32)
BEST = STATES[:, 0] + 0.5


SPIKING = {"critic": "spiking", "vae": "spiking"}


def _kwargs(cls: type, **others: Any) -> dict[str, Any]:
    return SMALL | ({"vae_arch": [32, 32]} if cls is BCQ else {}) | others


@pytest.mark.parametrize(
    ("policy", "cls", "arguments"),
    [
        *(
            (policy, *each)
            for policy in ("MlpPolicy", "SpikingPolicy")
            for each in (
                (BCQ, {"policy_kwargs": {"phi": 0.3}}),
                (BCQ, {"policy_kwargs": {"phi": 0.3, "state_value": True}}),
                (TD3BC, {"alpha": 10.0}),
                (IQL, {"beta": 10.0, "expectile": 0.9}),
            )
        ),
        ("SpikingPolicy", BCQ, {"policy_kwargs": {"phi": 0.3} | SPIKING}),
        ("SpikingPolicy", BCQ, {"policy_kwargs": {"phi": 0.3, "state_value": True} | SPIKING}),
    ],
)
def test_the_best_action_of_a_bandit_is_learned(policy: str, cls, arguments: dict, bandit: OfflineDataset) -> None:
    networks = _kwargs(cls, **arguments.get("policy_kwargs", {}))
    model = cls(policy, dataset=bandit, **(arguments | {"policy_kwargs": networks})).learn(700)
    actions = model.predict(STATES, deterministic=True)[0][:, 0]
    assert np.abs(actions - BEST).mean() < 0.3  # 0.77 for the mean action of the dataset
    assert np.corrcoef(actions, BEST)[0, 1] > 0.8


def test_cloning_learns_the_mean_action_whatever_it_earns(bandit: OfflineDataset) -> None:
    model = BC("MlpPolicy", dataset=bandit, policy_kwargs=SMALL).learn(500)
    assert np.abs(model.predict(STATES, deterministic=True)[0]).mean() < 0.25


def test_values_do_not_go_beyond_terminations_but_through_time_limits() -> None:
    """Two states, reward 1, the second's episodes end: V = 1 there, and 1 / (1 - gamma) where only the time was up."""
    n = 2000
    s = np.repeat([[0.0], [1.0]], n // 2, axis=0).astype(np.float32)
    a = np.random.default_rng(0).uniform(-1, 1, (n, 1)).astype(np.float32)
    ends = np.ones(n, bool)
    box = spaces.Box(-1, 1, (1,))
    data = OfflineDataset(s, a, np.ones(n, np.float32), s, s[:, 0] > 0.5, ends, spaces.Box(-2, 2, (1,)), box)
    model = IQL("MlpPolicy", dataset=data, gamma=0.5, tau=0.1, policy_kwargs=SMALL).learn(600)
    with torch.no_grad():
        values = model.policy.value(torch.tensor([[0.0], [1.0]]))[:, 0]
    np.testing.assert_allclose(values, [2.0, 1.0], atol=0.15)


def test_a_step_of_bcq_is_the_published_one(bandit: OfflineDataset) -> None:
    """The target against a loop over candidates."""
    model = BCQ("MlpPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ))
    policy, rows = model.policy, slice(0, 5)
    batch = Batch(
        torch.as_tensor(bandit.observations[rows]), torch.zeros(5, 1), torch.as_tensor(bandit.next_observations[rows]),
        torch.arange(5.0)[:, None], torch.tensor([[1.0], [0.0], [1.0], [1.0], [0.0]]),
    )  # fmt: skip
    s = policy.see(batch.next_observations)
    torch.manual_seed(3)
    target = model._target(model._try(s), batch)[:, 0]
    torch.manual_seed(3)
    z = torch.randn(50, 2).clamp(-0.5, 0.5)
    for i in range(5):
        best = -np.inf
        for j in range(10):
            state = s[i : i + 1]
            with torch.no_grad():
                a = policy.vae.decode(state, z[10 * i + j][None])
                a = (a + 0.05 * torch.tanh(policy.actor_target(torch.cat([state, a], 1)))).clamp(-1, 1)
                q = [float(critic(torch.cat([state, a], 1))) for critic in policy.critics_target]
            best = max(best, 0.75 * min(q) + 0.25 * max(q))
        expected = float(batch.rewards[i]) + 0.99 * float(batch.not_done[i]) * best
        assert float(target[i]) == pytest.approx(expected, abs=1e-5)


def test_spiking_critics_learn_what_a_value_of_states_leaves(bandit: OfflineDataset) -> None:
    """Q_k = V(s) + A_k(s, a): a plain step of each one's own gradient, in targets and in what is learned from them."""
    networks = _kwargs(BCQ, **SPIKING, state_value=True, value_arch=[24], action_gain=3.0)
    model = BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=networks)
    policy = model.policy
    assert [p.shape[0] for p in policy.critics[2].parameters()] == [24, 24, 1, 1]
    batch = Batch(
        torch.as_tensor(bandit.observations[:64]), torch.as_tensor(bandit.actions[:64]),
        torch.as_tensor(bandit.next_observations[:64]), torch.ones(64, 1), torch.ones(64, 1),
    )  # fmt: skip
    s, pair = policy.see(batch.observations), torch.cat([policy.see(batch.observations), 3.0 * batch.actions], dim=1)
    with torch.no_grad():
        policy.critics_target[2][-1].bias += 7.0
    torch.manual_seed(3)
    target = model._target(model._try(policy.see(batch.next_observations)), batch)
    with torch.no_grad():
        policy.critics_target[2][-1].bias -= 7.0
    torch.manual_seed(3)
    plain = model._target(model._try(policy.see(batch.next_observations)), batch)
    torch.testing.assert_close(target, plain + 0.99 * 7.0)

    wanted = {}
    v = policy.critics[2](s)
    for k, out in enumerate([policy.critics[0](pair) + v.detach(), policy.critics[1](pair) + v.detach(), v]):
        of = list(policy.critics[k].parameters())
        grads = torch.autograd.grad(((out - target) ** 2).mean(), of)
        wanted[k] = [p.detach() - 0.1 * grad for p, grad in zip(of, grads, strict=True)]
    policy.critics.optimizer = torch.optim.SGD(policy.critics.parameters(), lr=0.1)
    model._target = lambda tried, batch: target  # type: ignore[method-assign]
    model._update(batch)
    for k, parameters in wanted.items():
        torch.testing.assert_close(list(policy.critics[k].parameters()), parameters, rtol=1e-4, atol=1e-6)


def test_acting_takes_nothing_of_the_value_of_states(bandit: OfflineDataset) -> None:
    model = BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ, **SPIKING, state_value=True)).learn(2)
    actions = model.predict(STATES, deterministic=True)[0]
    with torch.no_grad():
        for parameter in model.policy.critics[2].parameters():
            parameter.fill_(torch.nan)
    np.testing.assert_array_equal(model.predict(STATES, deterministic=True)[0], actions)
    assert np.isfinite(actions).all()


def test_a_gain_of_actions_is_one_of_the_weights_that_critics_have_for_them(bandit: OfflineDataset) -> None:
    plain, gaining = (BCQ("MlpPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ, action_gain=g)) for g in (1.0, 4.0))
    gaining.policy.load_state_dict(plain.policy.state_dict())
    with torch.no_grad():
        for critics in (gaining.policy.critics, gaining.policy.critics_target):
            for critic in critics:
                critic[0].weight[:, -1] /= 4.0
    s, batch = gaining.policy.see(torch.as_tensor(STATES)), Batch(*(torch.ones(len(STATES), n) for n in (1, 1, 1, 1, 1)))
    losses = []
    for model in (plain, gaining):
        torch.manual_seed(5)
        values = model.policy.values(model.policy.critics, s, torch.as_tensor(BEST[:, None]))
        losses.append([*values, model._target(model._try(s), batch), model._improve(s)])
    for a, b in zip(*losses, strict=True):
        torch.testing.assert_close(a, b)
    np.testing.assert_allclose(*(model.predict(STATES, deterministic=True)[0] for model in (plain, gaining)), rtol=1e-4)


def test_pupils_take_a_plain_step_towards_their_teachers(bandit: OfflineDataset) -> None:
    model = BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ, phi=0.3))
    policy = model.policy
    with torch.no_grad():  # targets are not what they follow
        for parameter in [*policy.actor_target.parameters(), *policy.critics_target.parameters()]:
            parameter += 0.1 * torch.randn_like(parameter)
    tried = model._try(policy.see(torch.as_tensor(bandit.next_observations[:20])))
    proposer, judge = policy.pupils["proposer"], policy.pupils["judge"]
    rows = [10 * i + j for i in range(20) for j in range(3)]
    s, z = tried.s[rows], tried.z[rows]
    mimicked = torch.tanh(proposer(torch.cat([s, z], 1)))
    imitation = ((mimicked - torch.tanh(policy.vae.decoder(torch.cat([s, z], 1)))) ** 2)[::3].mean()  # first candidates
    a = (mimicked + 0.3 * torch.tanh(policy.actor(torch.cat([s, mimicked], 1)))).clamp(-1, 1).detach()
    q = torch.stack([critic(torch.cat([s, a], 1)) for critic in policy.critics_target])
    q = (0.75 * q.amin(0) + 0.25 * q.amax(0)).view(20, 3).detach()
    j = judge(torch.cat([s, a], 1)).view(20, 3)
    judgement = ((j - j.mean(1, keepdim=True) - q + q.mean(1, keepdim=True)) ** 2).mean()
    wanted = []
    for pupil, loss in ((proposer, imitation), (judge, judgement)):
        of = list(pupil.parameters())
        grads = torch.autograd.grad(loss, of, allow_unused=True)  # the judge's last bias shifts all candidates alike
        wanted += [p.detach() - 0.1 * (0 if g is None else g) for p, g in zip(of, grads, strict=True)]
    teachers = [p.clone() for part in (policy.vae, policy.critics, policy.actor) for p in part.parameters()]
    policy.pupils.optimizer = torch.optim.SGD(policy.pupils.parameters(), lr=0.1)
    losses = model._teach(tried)
    assert float(losses["train/proposer_loss"]) == pytest.approx(float(imitation.detach()), rel=1e-5)
    assert float(losses["train/judge_loss"]) == pytest.approx(float(judgement.detach()), rel=1e-4)
    torch.testing.assert_close(list(policy.pupils.parameters()), wanted, rtol=1e-4, atol=1e-6)
    after = [p for part in (policy.vae, policy.critics, policy.actor) for p in part.parameters()]
    assert all(torch.equal(x, y) for x, y in zip(teachers, after, strict=True))


def test_pupils_begin_with_large_steps_and_end_with_small_ones(bandit: OfflineDataset) -> None:
    rates: list[tuple[float, ...]] = []

    class Rates(BaseCallback):
        def _on_step(self) -> bool:
            parts = ("pupils", "critics", "vae", "actor")
            rates.append(tuple(getattr(self.model.policy, part).optimizer.param_groups[0]["lr"] for part in parts))
            return True

    model = BCQ("SpikingPolicy", dataset=bandit, learning_rate=0.002, pupil_lr_scale=5.0, policy_kwargs=_kwargs(BCQ))
    model.learn(4, Rates())
    np.testing.assert_allclose(np.array(rates)[:, 0], [0.01, 0.0075, 0.005, 0.0025])
    np.testing.assert_allclose(np.array(rates)[:, 1:], 0.002)


def test_what_acts_are_the_pupils_and_all_of_it_spikes(bandit: OfflineDataset) -> None:
    model = BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ)).learn(2)
    assert all(isinstance(net, SpikingNet) for net in model.policy.acting.values())
    actions = model.predict(STATES, deterministic=True)[0]
    with torch.no_grad():
        for parameter in [*model.policy.vae.parameters(), *model.policy.critics.parameters()]:
            parameter.fill_(torch.nan)
    np.testing.assert_array_equal(model.predict(STATES, deterministic=True)[0], actions)
    assert np.isfinite(actions).all()


def test_the_actor_is_improved_without_moving_vae_and_critics(bandit: OfflineDataset) -> None:
    model = BCQ("MlpPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ))
    policy = model.policy
    before = [p.clone() for module in (policy.vae, policy.critics) for p in module.parameters()]
    moved = [p.clone() for p in policy.actor.parameters()]
    model._improve(policy.see(torch.as_tensor(STATES)))
    after = [p for module in (policy.vae, policy.critics) for p in module.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(moved, policy.actor.parameters(), strict=True))
    assert all(p.requires_grad for p in after)


@pytest.mark.parametrize(
    ("cls", "policy", "own"),
    [
        *((cls, policy, {}) for cls in ALGORITHMS.values() for policy in ("MlpPolicy", "SpikingPolicy")),
        (BCQ, "SpikingPolicy", SPIKING),
    ],
)
def test_a_loaded_model_goes_on_exactly(cls, policy: str, own: dict, bandit: OfflineDataset, tmp_path: Path) -> None:
    def build() -> Any:
        drawing = {"encoder": "rate"} if policy == "SpikingPolicy" else {}
        networks = _kwargs(cls, **own | drawing | ({"state_value": True} if cls is BCQ else {}))
        return cls(policy, dataset=bandit, log_every=5, learning_rate=1e-3, policy_kwargs=networks, seed=4)

    class StopAfterSeven(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 7

    whole, half = build().learn(12), build().learn(12, StopAfterSeven())
    assert half.num_timesteps == 7
    half.save(tmp_path / "half")
    loaded = cls.load(tmp_path / "half", dataset=bandit).learn(12, reset_num_timesteps=False)
    for name, value in whole.policy.state_dict().items():
        torch.testing.assert_close(loaded.policy.state_dict()[name], value, rtol=0, atol=0, msg=name)
    assert whole.num_timesteps == loaded.num_timesteps == 12
    actions = whole.predict(STATES, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(STATES, deterministic=True)[0], actions)
    np.testing.assert_array_equal(whole.predict(STATES, deterministic=True)[0], actions)


def test_evaluations_and_callbacks_change_nothing_and_are_kept(tmp_path: Path) -> None:
    env = gymnasium.make("Pendulum-v1")
    rng = np.random.default_rng(0)
    s, a = rng.normal(size=(300, 3)).astype(np.float32), rng.uniform(-2, 2, (300, 1)).astype(np.float32)
    ends = np.zeros(300, bool)
    data = OfflineDataset(s, a, -np.abs(a[:, 0]), s, ends, ends, env.observation_space, env.action_space)
    quiet = BC("SpikingPolicy", "Pendulum-v1", data, log_every=5, policy_kwargs=SMALL).learn(10)
    watched = BC("SpikingPolicy", "Pendulum-v1", data, log_every=5, eval_every=5, eval_episodes=2, policy_kwargs=SMALL)
    callback = EvalCallback(gymnasium.make("Pendulum-v1"), eval_freq=4, n_eval_episodes=1, log_path=str(tmp_path), verbose=0)
    watched.learn(10, callback)
    for x, y in zip(quiet.policy.parameters(), watched.policy.parameters(), strict=True):
        assert torch.equal(x, y)
    assert [row["time/total_timesteps"] for row in watched.history if "eval/mean_reward" in row] == [5, 10]
    assert np.load(tmp_path / "evaluations.npz")["timesteps"].tolist() == [4, 8]
    assert len(watched.evaluate(4, 0)) == 4


def test_observations_are_normalised_by_the_dataset(bandit: OfflineDataset) -> None:
    model = BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ))
    seen = model.policy.see(torch.as_tensor(bandit.observations))
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-3)
    plain = BC("MlpPolicy", dataset=bandit, normalize_obs=False, policy_kwargs=SMALL)
    extractors = [m for m in plain.policy.modules() if isinstance(m, NormalizingExtractor)]
    assert extractors
    assert all(torch.equal(m.std, torch.ones(2)) for m in extractors)


def _built(mode: str, bandit: OfflineDataset, fidelity: str = "corrected", **changes: Any) -> Any:
    algorithm, policy, arguments, networks = options_of(train_defaults("Hopper-v5", mode, fidelity))
    return ALGORITHMS[algorithm](policy, dataset=bandit, policy_kwargs=networks | changes, **arguments)


@pytest.mark.parametrize("mode", list(zoo()["modes"]))
def test_every_mode_learns_and_acts(mode: str, bandit: OfflineDataset) -> None:
    algorithm, policy, _, _ = options_of(train_defaults("Pendulum-v1", mode))
    small = {"net_arch": [16, 16]} | ({"vae_arch": [16]} if algorithm == "bcq" else {})
    model = _built(mode, bandit, **small).learn(2)
    actions, _ = model.predict(STATES, deterministic=True)
    assert actions.shape == (9, 1)
    assert np.abs(actions).max() <= 2.0
    assert any(isinstance(m, SpikingNet) for m in model.policy.modules()) == (policy == "SpikingPolicy")


def test_a_coder_of_ones_own_comes_without_the_arguments_of_the_modes(bandit: OfflineDataset) -> None:
    for mode, chosen in (("acsf", {"encoder": "direct"}), ("accumulated", {"decoder": "rate"})):
        run = dataclasses.replace(train_defaults("Pendulum-v1", mode), policy_kwargs=chosen)
        algorithm, policy, arguments, networks = options_of(run)
        actor = ALGORITHMS[algorithm](policy, dataset=bandit, policy_kwargs=networks, **arguments).policy.actor
        assert (type(actor.encoder).__name__, type(actor.decoder).__name__) == (
            "DirectEncoder",
            "AdaptiveDecoder" if mode == "acsf" else "RateDecoder",
        )
    for mode, same in (("acsf", {"encoder": "adaptive"}), ("accumulated", {"decoder": "membrane"})):
        run = train_defaults("Pendulum-v1", mode)
        assert options_of(dataclasses.replace(run, policy_kwargs=same)) == options_of(run)
    kept = dataclasses.replace(run, mode="acsf", policy_kwargs={"encoder": "adaptive", "encoder_kwargs": {"time_only": True}})
    assert options_of(kept)[3]["encoder_kwargs"] == {"time_only": True}


def test_modes_of_bcq_have_hidden_layers_of_equal_size(bandit: OfflineDataset) -> None:
    for mode, entry in zoo()["modes"].items():
        if entry["algorithm"] == "bcq":
            policy = _built(mode, bandit).policy
            assert (policy.net_arch, policy.vae_arch) == ([256, 256], [750, 750]), mode


def test_original_has_the_sizes_and_defects_of_the_released_code(bandit: OfflineDataset) -> None:
    acsf = _built("acsf", bandit, "original")
    q1, q2 = acsf.policy.critics  # and no value of states
    assert len(_built("acsf", bandit).policy.critics) == 2
    for mode, vae in (("acsf", True), ("accumulated", True), ("rate", False)):
        own, ours = (_built(mode, bandit, fidelity).policy for fidelity in ("original", "corrected"))
        assert (set(own.pupils), set(ours.pupils)) == (set(), {"proposer", "judge"})
        assert all(isinstance(critic, SpikingNet) for critic in own.critics)
        assert [isinstance(net, SpikingNet) for net in (own.vae.encoder, own.vae.decoder)] == [vae, vae]
    features = acsf.policy.actor.encoder.features
    assert (acsf.policy.action_gain, _built("acsf", bandit).policy.action_gain) == (1.0, 1.0)
    repeating = [
        torch.equal(each.policy.actor.encoder.map.weight, torch.eye(features).repeat(4, 1))
        for each in (acsf, _built("acsf", bandit))
    ]
    assert repeating == [False, True]
    assert q1.encoder is q2.encoder
    assert q1.decoder.first is q2.decoder.first
    assert q1.decoder.second is not q2.decoder.second
    assert acsf.policy.vae.decoder.n_timesteps == 32
    assert acsf.block == 5000
    rate = _built("rate", bandit, "original").policy
    assert rate.net_arch == [400, 300]
    with torch.no_grad():
        q = rate.critics[0](10 * torch.randn(50, 3))
    assert set(np.unique(q)) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert not any(isinstance(m, SpikingNet) for m in rate.vae.modules())
    assert isinstance(_built("ac-bcq", bandit).policy.actor, AdaptiveMlp)
    sizes = [options_of(train_defaults("Pendulum-v1", "bcq", f))[3]["net_arch"] for f in ("corrected", "original")]
    assert sizes == [[64, 64], [400, 300]]  # an environment's own sizes, and the released ones wherever they are asked for


def test_blocks_of_frozen_targets_and_membranes_that_are_never_reset(bandit: OfflineDataset) -> None:
    networks = _kwargs(BCQ)
    model = BCQ("SpikingPolicy", dataset=bandit, block=3, keep_target_membranes=True, policy_kwargs=networks, log_every=1)

    def actor() -> Any:
        return [p.clone() for p in model.policy.actor.parameters()]

    def same(a: list, b: list) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    start = actor()
    model.learn(3)
    assert same(start, actor())
    assert model.policy.actor_target.carried[1][0].abs().sum() > 0
    model.learn(4, reset_num_timesteps=False)
    assert not same(start, actor())


def test_time_steps_are_those_that_were_asked_for(bandit: OfflineDataset) -> None:
    for steps in (1, 2, 16):
        model = BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=_kwargs(BCQ, n_timesteps=steps))
        nets = [m for m in model.policy.modules() if isinstance(m, SpikingNet)]
        assert {net.n_timesteps for net in nets} == {steps}
        model.learn(1)


def test_bad_arguments(bandit: OfflineDataset, tmp_path: Path) -> None:
    for kwargs, message in (
        ({"lmbda": 1.5}, r"lmbda=1\.5 must be in \[0, 1\]"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"pupil_lr_scale": 0}, "pupil_lr_scale=0 must be positive"),
        ({"eval_every": 5000}, "needs an environment"),
        ({"policy_kwargs": {"coding": "adaptiv"}}, "Unknown coding 'adaptiv'. Did you mean 'adaptive'"),
        ({"policy_kwargs": {"phy": 0.1}}, "no option 'phy'"),
        ({"policy_kwargs": {"action_gain": 0.0}}, r"action_gain=0\.0 must be positive"),
        ({"keep_target_membranes": True}, "for a spiking actor"),
    ):
        with pytest.raises(ValueError, match=message):
            BCQ("MlpPolicy", dataset=bandit, **kwargs)
    for role in ("critic", "vae"):
        with pytest.raises(ValueError, match=f"Unknown {role} 'tought'. Did you mean 'taught'"):
            BCQ("SpikingPolicy", dataset=bandit, policy_kwargs={role: "tought"})
    for option, message in (
        ({"share_coders": True}, "share_coders=True is for critic='spiking', but critic='taught'; change one"),
        ({"vae_timesteps": 32}, "vae_timesteps=32 is for vae='spiking', but vae='taught'; change one"),
    ):
        with pytest.raises(ValueError, match=message):
            BCQ("SpikingPolicy", dataset=bandit, policy_kwargs=option)
    with pytest.raises(ValueError, match="stateful=False"):
        BCQ("SpikingPolicy", dataset=bandit, policy_kwargs={"stateful": True})
    with pytest.raises(ValueError, match=r"give dataset=load_dataset"):
        BC("MlpPolicy", "Pendulum-v1")
    with pytest.raises(ValueError, match=r"bandit has observations in Box.*but Pendulum-v1 in Box"):
        BC("MlpPolicy", "Pendulum-v1", bandit)
    model = BC("MlpPolicy", dataset=bandit, policy_kwargs=SMALL).learn(1)
    model.save(tmp_path / "bc")
    with pytest.raises(CheckpointError, match=r"was written by BC; load it with BC\.load"):
        IQL.load(tmp_path / "bc")
    with pytest.raises(ValueError, match="no dataset to learn from"):
        BC.load(tmp_path / "bc").learn(2)
    assert isinstance(model.policy, nn.Module)


@pytest.mark.parametrize(("policy", "networks"), [("MlpPolicy", {}), ("SpikingPolicy", SPIKING), ("SpikingPolicy", {})])
def test_critics_agree_as_far_as_their_values_correlate(policy: str, networks: dict, bandit: OfflineDataset) -> None:
    own = BCQ(policy, dataset=bandit, policy_kwargs=_kwargs(BCQ, n_candidates=20, **networks)).policy
    seen = torch.as_tensor(STATES)
    with torch.no_grad():
        agreed = own.agreement(seen).numpy()
        s, actions = own.candidates(seen, deterministic=True)
        judge = own.pupils["judge"] if own.pupils else own.critics[0]
        judged = [judge(torch.cat([s, actions], dim=1)), own.values(own.critics, s, actions)[1]]
        values = [q.view(len(STATES), 20).numpy() for q in judged]
        with np.errstate(invalid="ignore"):  # spikes may be the same for all candidates; then there is nothing to agree about
            expected = np.nan_to_num([np.corrcoef(*pair)[0, 1] for pair in zip(*values, strict=True)])
        np.testing.assert_allclose(agreed, expected, atol=1e-4)
        assert 0 < np.abs(expected).max() < 1
        own.critics[1] = judge
        distinct = torch.as_tensor([len(np.unique(q)) > 1 for q in values[0]])
        np.testing.assert_allclose(own.agreement(seen)[distinct], 1.0, atol=1e-5)
        for parameter in own.critics.parameters():
            parameter.zero_()
        assert own.agreement(seen).tolist() == [0.0] * len(STATES)  # equal values tell nothing


def test_agreement_is_the_mean_over_what_is_seen_while_acting(bandit: OfflineDataset) -> None:
    env = gymnasium.make("Pendulum-v1")
    data = dataclasses.replace(
        bandit,
        observations=np.eye(3, dtype=np.float32)[np.arange(4000) % 3],
        next_observations=np.zeros((4000, 3), np.float32),
        observation_space=env.observation_space,
        action_space=env.action_space,
    )
    model = BCQ("MlpPolicy", "Pendulum-v1", data, eval_episodes=1, policy_kwargs=_kwargs(BCQ))
    state, _ = env.reset(seed=4)
    found = []
    for _ in range(6):
        with torch.no_grad():
            found.append(model.policy.agreement(torch.as_tensor(state[None])).item())
        state, *_ = env.step(model.predict(state, deterministic=True)[0])
    assert agreement_of(model, seed=4, steps=6) == pytest.approx(np.mean(found), abs=1e-5)
    assert np.isnan(agreement_of(BC("MlpPolicy", "Pendulum-v1", data, policy_kwargs=SMALL)))
