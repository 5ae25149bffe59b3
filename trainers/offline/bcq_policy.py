"""The networks of BCQ: a variational autoencoder that proposes actions, an actor that shifts them, two critics."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from policies.names import choose, nearest
from policies.sb3.common import SpikingPolicy
from policies.sb3.features import NormalizingExtractor
from trainers.offline.original import use_output_rates, use_two_maps

LATENT_BOUND = 0.5  # of latent vectors that are drawn to propose actions
LOG_STD_BOUNDS = (-4.0, 15.0)


class VAE(nn.Module):
    """Conditional variational autoencoder of the actions in a dataset.

    encoder (s, a) -> mean and log std of z; decoder (s, z) -> tanh -> a

    :param encoder: takes (B, S + A), gives (B, 2 Z)
    :param decoder: takes (B, S + Z), gives (B, A)
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.latent = encoder, decoder, latent

    def forward(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The action again (B, A), and mean and log standard deviation of z (B, Z)."""
        mean, log_std = self.encoder(torch.cat([s, a], dim=1)).chunk(2, dim=1)
        log_std = log_std.clamp(*LOG_STD_BOUNDS)
        z = mean + log_std.exp() * torch.randn_like(mean)
        return self.decode(s, z), mean, log_std

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Actions (B, A) in [-1, 1]."""
        return decode(self.decoder, s, z)

    def draw(self, n: int) -> Tensor:
        """Latent vectors that stand for actions like those in the dataset: (n, Z), N(0, 1) clipped to [-0.5, 0.5]."""
        z = torch.randn(n, self.latent, device=next(self.parameters()).device)
        return z.clamp(-LATENT_BOUND, LATENT_BOUND)


def decode(decoder: nn.Module, s: Tensor, z: Tensor) -> Tensor:
    """What a decoder makes of latent vectors: actions (B, A) in [-1, 1]."""
    out: Tensor = torch.tanh(decoder(torch.cat([s, z], dim=1)))
    return out


class AdaptiveMlp(nn.Sequential):
    """An MLP behind ACSF's coder and before its decoder: x -> T features each -> MLP -> T outputs each -> y.

    The coders are linear; this is what remains of ACSF without spikes, for comparison.
    """

    def __init__(self, features: int, outputs: int, arch: Sequence[int], n_timesteps: int) -> None:
        mlp = create_mlp(n_timesteps * features, n_timesteps * outputs, list(arch))
        super().__init__(nn.Linear(features, n_timesteps * features), *mlp, nn.Linear(n_timesteps * outputs, outputs))


class BCQPolicy(BasePolicy):
    """Acts with the best of `n_candidates` proposals of the VAE, each shifted by the actor.

        pi(s, a) = clip(a + phi * tanh(actor(s, a)), -1, 1),  a = argmax_i Q1(s, pi(s, VAE(s, z_i)))

    Where the VAE's decoder and Q1 have a pupil, this acts in their place.

    With `deterministic`, the latent vectors z_i are the same for every observation, drawn when the policy is made; else
    new ones are drawn.

    :param net_arch: hidden layers of the actor and the critics
    :param vae_arch: hidden layers of the VAE's encoder and decoder
    :param phi: largest shift, as a multiple of half the actions' range
    :param coding: "none", or "adaptive" for ACSF's coders around MLPs that do not spike (`AdaptiveMlp`)
    :param coding_steps: T of these coders
    :param state_value: an MLP V learns the targets from states alone, and the critics what it leaves: Q_k = V(s) + A_k(s, a).
        V is the same for all candidates, so that acting takes none of it. Spiking critics without a teacher need it: their
        jumps go to what differs most, and values differ far less between the candidates than between states (cf. the
        common-mode errors of spiking Q-networks, Xu et al. 2026)
    :param value_arch: hidden layers of V, which no acting network has to carry; the better it fits, the less of its errors
        the critics learn
    :param action_gain: critics take actions times this, for the same reason
    """

    critics: nn.ModuleList
    """Q1 and Q2, or A1, A2 and V."""
    pupils: nn.ModuleDict
    """Networks that learn from others in order to act in their place: "proposer" from the VAE's decoder, "judge" from the
    critics."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        net_arch: Sequence[int] = (256, 256),
        vae_arch: Sequence[int] = (750, 750),
        phi: float = 0.05,
        n_candidates: int = 100,
        coding: str = "none",
        coding_steps: int = 4,
        state_value: bool = False,
        value_arch: Sequence[int] = (256, 256),
        action_gain: float = 1.0,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if phi < 0 or n_candidates < 1 or coding_steps < 1:
            raise ValueError(
                f"phi={phi} must be at least 0, n_candidates={n_candidates} and coding_steps={coding_steps} at least 1."
            )
        if not action_gain > 0:
            raise ValueError(f"action_gain={action_gain} must be positive.")
        if coding not in ("none", "adaptive"):
            raise ValueError(f"Unknown coding '{coding}'. {nearest(coding, ('none', 'adaptive'))}")
        super().__init__(
            observation_space,
            action_space,
            kwargs.pop("features_extractor_class", NormalizingExtractor),
            kwargs.pop("features_extractor_kwargs", None),
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs if optimizer_kwargs is not None else {"fused": True},
            squash_output=True,
        )
        if kwargs:
            name = next(iter(kwargs))
            raise ValueError(f"BCQ's policy has no option '{name}'.")
        assert isinstance(action_space, spaces.Box)
        self.net_arch, self.vae_arch = list(net_arch), list(vae_arch)
        self.phi, self.n_candidates = phi, n_candidates
        self.coding, self.coding_steps, self.state_value = coding, coding_steps, state_value
        self.value_arch, self.action_gain = list(value_arch), action_gain
        self.actions = action_space.shape[0]
        self._build(lr_schedule)

    def make_net(self, features: int, outputs: int, arch: list[int], part: str) -> nn.Module:
        """The network of a part: "actor", "critic", "vae" or "pupil"."""
        if self.coding == "adaptive" and part != "vae":
            return AdaptiveMlp(features, outputs, arch, self.coding_steps)
        return nn.Sequential(*create_mlp(features, outputs, arch))

    def make_critics(self, features: int) -> list[nn.Module]:
        """Q1 and Q2."""
        return [self.make_net(features, 1, self.net_arch, "critic") for _ in range(2)]

    def make_pupils(self, size: int, latent: int) -> dict[str, nn.Module]:
        """Here all networks act themselves."""
        return {}

    def _build(self, lr_schedule: Schedule) -> None:
        self.features_extractor = self.make_features_extractor()
        size, latent = self.features_extractor.features_dim, 2 * self.actions
        pair = size + self.actions
        encoder = self.make_net(pair, 2 * latent, self.vae_arch, "vae")
        self.vae = VAE(encoder, self.make_net(size + latent, self.actions, self.vae_arch, "vae"), latent)
        self.actor = self.make_net(pair, self.actions, self.net_arch, "actor")
        self.critics = nn.ModuleList(self.make_critics(pair))
        if self.state_value:
            self.critics.append(nn.Sequential(*create_mlp(size, 1, self.value_arch)))
        self.pupils = nn.ModuleDict(self.make_pupils(size, latent))
        self.actor_target, self.critics_target = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        for module in (self.actor_target, self.critics_target):
            module.requires_grad_(False)
        z = torch.randn(self.n_candidates, latent).clamp(-LATENT_BOUND, LATENT_BOUND)
        self.latents: Tensor
        self.register_buffer("latents", z)
        rate = lr_schedule(1)
        for module in (self.vae, self.actor, self.critics, *([self.pupils] if self.pupils else [])):
            module.optimizer = self.optimizer_class(module.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg, assignment]

    @property
    def acting(self) -> dict[str, nn.Module]:
        """The networks that a decision passes: proposer, actor, judge."""
        return {"proposer": self.vae.decoder, "actor": self.actor, "judge": self.critics[0], **dict(self.pupils.items())}

    def shift(self, actor: nn.Module, s: Tensor, a: Tensor) -> Tensor:
        """pi(s, a)."""
        return (a + self.phi * torch.tanh(actor(torch.cat([s, a], dim=1)))).clamp(-1.0, 1.0)

    def pair(self, s: Tensor, a: Tensor) -> Tensor:
        """What the critics take (B, S + A)."""
        return torch.cat([s, self.action_gain * a], dim=1)

    def values(self, critics: nn.ModuleList, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Q1 and Q2 (B, 1); what V adds to both learns nothing from their losses."""
        pair = self.pair(s, a)
        q1, q2 = critics[0](pair), critics[1](pair)
        if self.state_value:
            v = critics[2](s).detach()
            q1, q2 = q1 + v, q2 + v
        return q1, q2

    def see(self, observations: Tensor) -> Tensor:
        """What all networks take: observations (B, S), normalised."""
        return self.extract_features(observations, self.features_extractor)

    def candidates(self, observation: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor]:
        """What networks see (B n, S) and do (B n, A) with each of the n candidates of each observation."""
        s = self.see(observation)
        batch = len(s)
        s = s.repeat_interleave(self.n_candidates, dim=0)
        z = self.latents.repeat(batch, 1) if deterministic else self.vae.draw(len(s))
        return s, self.shift(self.actor, s, decode(self.acting["proposer"], s, z))

    def _predict(self, observation: Tensor, deterministic: bool = False) -> Tensor:  # type: ignore[override]
        s, actions = self.candidates(observation, deterministic)
        value = self.acting["judge"](self.pair(s, actions)).view(-1, self.n_candidates)
        rows = torch.arange(len(value), device=s.device)
        return actions.view(*value.shape, -1)[rows, value.argmax(dim=1)]

    def agreement(self, observation: Tensor) -> Tensor:
        """How far the judge agrees with the second critic which candidates are better: the correlation of their values over
        the candidates of an observation, (B,). Near 0 the choice between them is noise."""
        pair = self.pair(*self.candidates(observation, deterministic=True))
        values = torch.stack([self.acting["judge"](pair), self.critics[1](pair)])
        values = values.view(2, -1, self.n_candidates)
        apart = values - values[:, :, :1]  # exactly 0 where all are equal, as a mean's rounding is not
        apart = apart - apart.mean(dim=2, keepdim=True)
        apart = apart / apart.norm(dim=2, keepdim=True).clamp(min=1e-12)
        return apart.prod(dim=0).sum(dim=1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        sizes = ("net_arch", "vae_arch", "value_arch", "n_candidates")
        own = (*sizes, "phi", "coding", "coding_steps", "state_value", "action_gain")
        return super()._get_constructor_parameters() | {name: getattr(self, name) for name in own}


class SpikingBCQPolicy(SpikingPolicy, BCQPolicy):
    """BCQ with spiking networks (ACSF: Qin et al., IJCAI 2023, arXiv 2211.11760, offline).

    The actor has this policy's coders and neurons. With "taught", VAE and critics are MLPs, and two spiking networks learn
    from them to act in place of the VAE's decoder and Q1, as such networks learn far worse from data and targets themselves
    (cf. Proxy Target, arXiv 2505.24161, where an MLP stands in for a spiking target actor). With "spiking" they do so, as
    released: the critics with this policy's coders, the VAE with a constant current and read from firing rates. With "mlp",
    MLPs learn and act.

    :param critic: "taught", "spiking" or "mlp"
    :param vae: "taught", "spiking" or "mlp"
    :param vae_timesteps: steps of a spiking VAE (default: those of the other networks)
    :param share_coders: both spiking critics have one encoder and one decoder, as in the released ACSF code
    :param output_rates: actor and spiking critics give rates in [0, 1], as the released rate-coded agent, whose values these
        cannot be
    """

    features = NormalizingExtractor

    def __init__(
        self,
        *args: Any,
        critic: str = "taught",
        vae: str = "taught",
        vae_timesteps: int | None = None,
        share_coders: bool = False,
        output_rates: bool = False,
        **kwargs: Any,
    ) -> None:
        choose("critic", critic, ROLES)
        choose("vae", vae, ROLES)
        if kwargs.get("stateful"):
            raise ValueError("BCQ tries many actions for one observation and carries no membrane; leave stateful=False.")
        for name, value, none, part, role in (
            ("share_coders", share_coders, "false", "critic", critic),
            ("vae_timesteps", vae_timesteps, "null", "vae", vae),
        ):
            if value and role != "spiking":
                raise ValueError(
                    f"{name}={value} is for {part}='spiking', but {part}='{role}'; change one, or set {name}: {none}."
                )
        if share_coders and output_rates:
            raise ValueError("share_coders is for learned decoders and output_rates for none; choose one.")
        options = {"share_coders": share_coders, "output_rates": output_rates}
        self.own = {"critic": critic, "vae": vae, "vae_timesteps": vae_timesteps, **options}
        super().__init__(*args, critic=ROLES[critic], **kwargs)

    def make_net(self, features: int, outputs: int, arch: list[int], part: str) -> nn.Module:
        if part == "vae" and self.own["vae"] == "spiking":
            steps = self.own["vae_timesteps"]
            return self.spiking_net(features, outputs, arch, **VAE_CODING, **({"n_timesteps": steps} if steps else {}))
        if part in ("actor", "pupil") or (part == "critic" and self.own["critic"] == "spiking"):
            net = self.spiking_net(features, outputs, arch)
            if self.own["output_rates"] and part != "pupil":
                use_output_rates(net, self._neuron())
            return net
        return super().make_net(features, outputs, arch, part)

    def make_critics(self, features: int) -> list[nn.Module]:
        first, second = super().make_critics(features)
        if self.own["share_coders"]:
            use_two_maps(first, self._neuron())
            use_two_maps(second, self._neuron(), twin=first)
        return [first, second]

    def make_pupils(self, size: int, latent: int) -> dict[str, nn.Module]:
        pupils = {}
        if self.own["vae"] == "taught":
            pupils["proposer"] = self.make_net(size + latent, self.actions, self.vae_arch, "pupil")
        if self.own["critic"] == "taught":
            pupils["judge"] = self.make_net(size + self.actions, 1, self.net_arch, "pupil")
        return pupils

    def _neuron(self) -> dict[str, Any]:
        """Arguments of the neurons, as `SpikingNet` takes them."""
        chosen = {name: self.spiking[name] for name in ("neuron", "surrogate", "surrogate_width") if name in self.spiking}
        return chosen | (self.spiking.get("neuron_kwargs") or {})

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.own


ROLES = {"taught": "mlp", "spiking": "spiking", "mlp": "mlp"}  # what learns from the data, by option
VAE_CODING: dict[str, Any] = {"encoder": "direct", "encoder_kwargs": None, "decoder": "rate", "decoder_kwargs": None}
