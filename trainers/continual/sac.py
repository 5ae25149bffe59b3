"""SAC whose actor belongs to a continual method."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.sac.policies import Actor
from torch import Tensor
from torch.nn import functional

import policies  # noqa: F401  (the names of the spiking policies)
from policies.precision import check_precision
from trainers.continual.critics import StackedCritics, is_stackable
from trainers.continual.methods.base import Method

SAMPLED_AT_ONCE = 64
"""Batches, at most."""


class ContinualSAC(SAC):
    """Stable-Baselines3's SAC for one task, with the actor of a method in place of its own, delayed actor updates and an
    own learning rate of the critics. The rest of SAC's arguments are taken besides these; its learning rate is the actor's
    and the temperature's.

    :param method: whose actor learns
    :param critic_learning_rate: of the critics
    :param policy_delay: updates of the critics for one of the actor and the temperature
    :param reward_scale: factor of all rewards in what the critics learn
    :param random_steps: steps at first with uniformly random actions
    :param precision: of products between the critics' hidden layers: "float32" or "bfloat16" (`policies.precision`)
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        method: Method,
        critic_learning_rate: float = 3e-4,
        policy_delay: int = 1,
        reward_scale: float = 1.0,
        random_steps: int = 0,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        check_precision(precision)
        for name, count in (
            ("policy_delay", policy_delay),
            ("target_update_interval", kwargs.get("target_update_interval", 1)),
        ):
            if count < 1:
                raise ValueError(f"{name}={count} must be at least 1.")
        for name, value in (("critic_learning_rate", critic_learning_rate), ("reward_scale", reward_scale)):
            if not value > 0:
                raise ValueError(f"{name}={value} must be positive.")
        if callable(kwargs.get("learning_rate")):
            raise ValueError("ContinualSAC has a constant learning_rate; give a number.")
        if kwargs.get("use_sde"):
            raise ValueError("ContinualSAC has no state-dependent exploration; leave use_sde=False.")
        self.method = method
        self.critic_learning_rate = critic_learning_rate
        self.policy_delay = policy_delay
        self.reward_scale = reward_scale
        self.random_steps = random_steps
        self.precision = precision
        super().__init__(policy, env, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self._vec_normalize_env is not None:
            raise ValueError("ContinualSAC keeps what it sees in memories of its methods; leave out VecNormalize.")
        if is_stackable(self.critic):
            for name in ("critic", "critic_target"):
                setattr(self.policy, name, StackedCritics(getattr(self.policy, name), self.precision).to(self.device))
            self._create_aliases()
        elif self.precision == "bfloat16":
            raise ValueError("precision='bfloat16' is for critics that are MLPs; leave it at 'float32' for others.")
        if self.log_ent_coef is not None:
            self.ent_coef_optimizer = torch.optim.Adam([self.log_ent_coef], lr=self.lr_schedule(1.0), fused=True)
        self.critic.optimizer = torch.optim.Adam(self.critic.parameters(), lr=self.critic_learning_rate, fused=True)
        self.attach()

    def attach(self) -> None:
        """Act and learn with the method's present actor, its optimiser new."""
        self.policy.actor = self.actor = self.method.to(self.device).actor
        self.actor.optimizer = torch.optim.Adam(self.method.trained(), lr=self.lr_schedule(1.0), fused=True)

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        """Actions and what the buffer keeps of them; Stable-Baselines3 acts at random until it learns."""
        return super()._sample_action(self.random_steps, action_noise, n_envs)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        self.policy.set_training_mode(True)
        sums: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for first in range(0, gradient_steps, SAMPLED_AT_ONCE):
            for batch in self.sample(min(SAMPLED_AT_ONCE, gradient_steps - first), batch_size):
                for name, value in self.update(batch).items():
                    sums[name] = sums.get(name, 0.0) + value
                    counts[name] = counts.get(name, 0) + 1
        for name, total in sums.items():
            self.logger.record(name, float(total) / counts[name])
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def sample(self, batches: int, batch_size: int) -> Iterator[ReplayBufferSamples]:
        """So many batches, looked up together, which costs little more than one."""
        assert self.replay_buffer is not None
        together = self.replay_buffer.sample(batches * batch_size)
        parts = [[None] * batches if field is None else field.split(batch_size) for field in together]
        return (ReplayBufferSamples(*fields) for fields in zip(*parts, strict=True))

    def update(self, batch: ReplayBufferSamples) -> dict[str, Tensor]:
        """One update of the critics, and every `policy_delay` of them one of actor and temperature; what to log."""
        temperature = self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()
        with torch.no_grad():
            next_observations = self.method.redraw(batch.next_observations)
            next_actions, next_log_prob = draw(self.actor, next_observations)
            following = torch.cat(self.critic_target(next_observations, next_actions), 1).amin(1, keepdim=True)
            following = following - temperature * next_log_prob[:, None]
            discounts = self.gamma if batch.discounts is None else batch.discounts
            target = self.reward_scale * batch.rewards + (1 - batch.dones) * discounts * following
        values = self.critic(batch.observations, batch.actions)
        critic_loss: Any = sum(functional.mse_loss(value, target) for value in values)
        self.critic.optimizer.zero_grad()
        critic_loss.backward()
        self.critic.optimizer.step()
        losses = {"train/critic_loss": critic_loss.detach(), "train/ent_coef": temperature.mean()}
        if self._n_updates % self.policy_delay == 0:
            losses |= self._update_actor(self.method.redraw(batch.observations), temperature)
        self._n_updates += 1
        if self._n_updates % self.target_update_interval == 0:
            polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        return losses

    def _update_actor(self, observations: Tensor, temperature: Tensor) -> dict[str, Tensor]:
        actions, log_prob = draw(self.actor, observations)
        values = torch.cat(self.critic(observations, actions), 1).amin(1)
        loss = (temperature * log_prob - values).mean()
        losses = {"train/actor_loss": loss.detach()}
        extra = self.method.loss(observations)
        if extra is not None:
            losses["continual/regularization"] = extra.detach()
            loss = loss + extra
        self.actor.optimizer.zero_grad()
        loss.backward(inputs=self.actor.optimizer.param_groups[0]["params"])  # and not the critics'
        self.method.constrain()
        self.actor.optimizer.step()
        if self.log_ent_coef is not None and self.ent_coef_optimizer is not None:
            surprise = (log_prob.detach() + float(self.target_entropy)).mean()
            self.ent_coef_optimizer.zero_grad()
            (-self.log_ent_coef * surprise).sum().backward()
            self.ent_coef_optimizer.step()
        return losses


def draw(actor: Actor, observations: Tensor) -> tuple[Tensor, Tensor]:
    """Actions (B, A) of a Gaussian squashed by tanh, and their log-probability (B,):

        u = mean + std * eps,  a = tanh(u),  log pi(a) = sum -eps^2 / 2 - log std - log(2 pi) / 2 - log(1 - a^2),
        log(1 - a^2) = 2 (log 2 - u - softplus(-2 u))

    The actor's own `action_log_prob` gives the same by more operations, and less exactly where 1 - a^2 is hardly a number.
    """
    mean, log_std, _ = actor.get_action_dist_params(observations)
    eps = torch.randn_like(mean)
    u = torch.addcmul(mean, log_std.exp(), eps)
    constant = math.log(4.0) + 0.5 * math.log(2 * math.pi)
    log_prob = (2 * (u + functional.softplus(-2 * u)) - log_std - 0.5 * eps.square() - constant).sum(dim=1)
    return u.tanh(), log_prob
