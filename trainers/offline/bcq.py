"""Batch-constrained deep Q-learning (Fujimoto et al., ICML 2019, arXiv 1812.02900), with MLPs or with spiking networks."""

from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor
from torch.nn import functional

from trainers.offline.algorithm import OfflineAlgorithm
from trainers.offline.bcq_policy import BCQPolicy, SpikingBCQPolicy, decode
from trainers.offline.dataset import Batch

NEXT_CANDIDATES = 10  # actions tried for each next observation
TAUGHT_CANDIDATES = 3  # of these, what the judge learns from; more teach little more


class Tried(NamedTuple):
    """The candidates of every next observation, B n in all."""

    s: Tensor  # (B n, S)
    z: Tensor  # (B n, Z)
    proposed: Tensor  # by the VAE: (B n, A)
    q: Tensor  # target value of what the actor makes of it: (B n, 1)


class BCQ(OfflineAlgorithm):
    """Q-learning whose actions stay near those of the dataset (see `BCQPolicy` for how it acts). A gradient step:

        VAE:     mean (a' - a)^2 + 0.5 KL,   KL = -0.5 mean(1 + log std^2 - mean^2 - std^2)
        critics: sum_k mean (Q_k(s, a) - y)^2,   y = r + gamma (1 - terminated) max over 10 candidates a' at s' of
                 lmbda min_k Q'_k(s', a') + (1 - lmbda) max_k Q'_k(s', a')
                 with V (`state_value` of `BCQPolicy`): Q_k = V(s) + A_k(s, a), V fixed in this, plus mean (V(s) - y)^2
        actor:   -mean Q1(s, pi(s, VAE(s))), or A1
        targets: move by tau towards critics and actor
        pupils:  the proposer mean (proposer(s', z) - VAE(s', z))^2 over one candidate, the judge mean (d judge - d Q')^2 over
                 three a' that the proposer and the actor made at s', where d x is x less its mean over the three

    Terminations end the bootstrapping, time limits do not. The arguments are those of `OfflineAlgorithm`, and:

    :param lmbda: weight of the smaller of the two values
    :param block: 0: actor and targets move in every step. Else they stand still in the first `block` steps, move in the
        next `block`, and so on: the released spiking agents did so with 5,000 by mistake, their ANN did not
    :param keep_target_membranes: the spiking target actor starts from the membranes that the last batch left, as in the
        released code, where they were never reset
    :param pupil_lr_scale: learning rate with which pupils begin, as a multiple of the others'; it falls linearly to 0 by the
        end of the training, as pupils need steps that are large at first and small in the end
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": BCQPolicy, "SpikingPolicy": SpikingBCQPolicy}
    optimizers: tuple[str, ...] = ("vae", "critics", "actor")
    policy: BCQPolicy

    def __init__(
        self,
        *args: Any,
        lmbda: float = 0.75,
        block: int = 0,
        keep_target_membranes: bool = False,
        pupil_lr_scale: float = 3.0,
        **kwargs: Any,
    ) -> None:
        if not 0 <= lmbda <= 1:
            raise ValueError(f"lmbda={lmbda} must be in [0, 1].")
        if block < 0:
            raise ValueError(f"block={block} must be at least 0.")
        if not pupil_lr_scale > 0:
            raise ValueError(f"pupil_lr_scale={pupil_lr_scale} must be positive.")
        self.lmbda, self.block, self.keep_target_membranes = lmbda, block, keep_target_membranes
        self.pupil_lr_scale = pupil_lr_scale
        super().__init__(*args, **kwargs)

    def arguments(self) -> dict[str, Any]:
        own = ("lmbda", "block", "keep_target_membranes", "pupil_lr_scale")
        return super().arguments() | {name: getattr(self, name) for name in own}

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.policy.pupils:
            self.optimizers = (*BCQ.optimizers, "pupils")
        if self.keep_target_membranes:
            target: Any = self.policy.actor_target
            if not hasattr(target, "rest"):
                raise ValueError("keep_target_membranes is for a spiking actor; use SpikingPolicy.")
            target.carried = target.rest(NEXT_CANDIDATES * self.batch_size)

    def _rate(self, name: str) -> float:
        rate = super()._rate(name)
        return rate * self.pupil_lr_scale * self._current_progress_remaining if name == "pupils" else rate

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        policy = self.policy
        s, s_next = policy.see(batch.observations), policy.see(batch.next_observations)
        again, mean, log_std = policy.vae(s, batch.actions)
        kl = -0.5 * (1 + 2 * log_std - mean**2 - (2 * log_std).exp()).mean()
        reconstruction = functional.mse_loss(again, batch.actions)
        self._step("vae", reconstruction + 0.5 * kl)

        tried = self._try(s_next)
        target = self._target(tried, batch)
        q1, q2 = policy.values(policy.critics, s, batch.actions)
        critic_loss = functional.mse_loss(q1, target) + functional.mse_loss(q2, target)
        values = {
            "train/vae_loss": (reconstruction + 0.5 * kl).detach(),
            "train/critic_loss": critic_loss.detach(),
            "train/q": q1.detach().mean(),
        }
        if policy.state_value:
            state_loss = functional.mse_loss(policy.critics[2](s), target)
            values["train/state_value_loss"] = state_loss.detach()
            critic_loss = critic_loss + state_loss
        self._step("critics", critic_loss)
        if policy.pupils:
            values |= self._teach(tried)
        if self.block and (self.num_timesteps // self.block) % 2 == 0:
            return values
        values["train/actor_loss"] = self._improve(s)
        self._move_target(policy.critics, policy.critics_target)
        self._move_target(policy.actor, policy.actor_target)
        return values

    @torch.no_grad()
    def _try(self, s: Tensor) -> Tried:
        """Candidates of observations (B, S)."""
        s = s.repeat_interleave(NEXT_CANDIDATES, dim=0)
        z = self.policy.vae.draw(len(s))
        proposed = self.policy.vae.decode(s, z)
        return Tried(s, z, proposed, self._value(s, self.policy.shift(self.policy.actor_target, s, proposed)))

    def _value(self, s: Tensor, a: Tensor) -> Tensor:
        """Target values (B, 1)."""
        q1, q2 = self.policy.values(self.policy.critics_target, s, a)
        return self.lmbda * torch.minimum(q1, q2) + (1 - self.lmbda) * torch.maximum(q1, q2)

    def _target(self, tried: Tried, batch: Batch) -> Tensor:
        """y (B, 1)."""
        best = tried.q.view(-1, NEXT_CANDIDATES).amax(dim=1, keepdim=True)
        return batch.rewards + self.gamma * batch.not_done * best

    def _teach(self, tried: Tried) -> dict[str, Tensor]:
        """Move the pupils towards their teachers; their losses."""
        policy, losses = self.policy, {}
        own = (tried.s, tried.z, tried.proposed)
        s, z, proposed = (  # (3 B, .), every state's first candidate, every state's second, every state's third
            x.view(-1, NEXT_CANDIDATES, x.shape[1])[:, :TAUGHT_CANDIDATES].transpose(0, 1).flatten(0, 1) for x in own
        )
        if "proposer" in policy.pupils:
            states = len(s) // TAUGHT_CANDIDATES
            again = decode(policy.pupils["proposer"], s[:states], z[:states])
            losses["proposer"] = functional.mse_loss(again, proposed[:states])
            with torch.no_grad():
                proposed = torch.cat([again, decode(policy.pupils["proposer"], s[states:], z[states:])])
        if "judge" in policy.pupils:
            with torch.no_grad():
                actions = policy.shift(policy.actor, s, proposed)
                values = self._value(s, actions)
            apart = (policy.pupils["judge"](policy.pair(s, actions)) - values).view(TAUGHT_CANDIDATES, -1)
            losses["judge"] = (apart - apart.mean(dim=0)).square().mean()
        self._step("pupils", torch.stack(list(losses.values())).sum())
        return {f"train/{name}_loss": loss.detach() for name, loss in losses.items()}

    def _improve(self, s: Tensor) -> Tensor:
        """Move the actor; the loss. Neither the VAE nor the critic learns from it."""
        policy = self.policy
        with torch.no_grad():
            proposed = policy.vae.decode(s, policy.vae.draw(len(s)))
        policy.critics.requires_grad_(False)
        actions = policy.shift(policy.actor, s, proposed)
        loss = -policy.critics[0](policy.pair(s, actions)).mean()
        self._step("actor", loss)
        policy.critics.requires_grad_(True)
        return loss.detach()
