"""`python -m benchmarks.trust_region --env HalfOneMax --env-kwargs size:4096`: EC and SATR at small populations.

Both take the entry of the environment in zoo_configs, apart from the population and the number of generations. For each
algorithm and population: the return of the deployed network at the end, mean, spread and worst over seeds; the lowest return
in the last quarter of the generations, mean and worst over seeds; how far it is below its best so far, mean over the
second half of the generations; the first generation in which it reached `--level`; and, on HalfOneMax, how far the
probabilities of the neutral half have drifted from one half (0 to 0.5).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import tyro

from policies.names import choose
from trainers.config import Options, constructor_arguments, defaults
from trainers.ec import EC
from trainers.satr import SATR

ALGORITHMS = {"ec": EC, "satr": SATR}


@dataclass
class Config:
    """What is compared."""

    env: str = "HalfOneMax"
    """Environment: a toy, a Brax task or any Gymnasium id."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment, e.g. size:4096."""
    policy_kwargs: Options = field(default_factory=dict)
    """Options of the network, e.g. num_neurons:64."""
    ec_kwargs: Options = field(default_factory=dict)
    """Arguments of EC, e.g. learning_rate:0.05."""
    satr_kwargs: Options = field(default_factory=dict)
    """Arguments of SATR, e.g. kl_max:0.05."""
    algorithms: tuple[str, ...] = ("ec", "satr")
    """What is compared: ec, satr."""
    populations: tuple[int, ...] = (64, 128, 256)
    """Members per generation."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each algorithm for each."""
    generations: int = 100
    """Generations of every run."""
    level: float | None = None
    """Return of the deployed network that is waited for."""


class Outcome(NamedTuple):
    """Of one run."""

    final: float
    reached: float  # generation, NaN if never
    lowest: float  # in the last quarter
    fall: float  # below the best so far, mean over the second half
    drift: float  # NaN but on HalfOneMax


def play(algorithm: str, population: int, seed: int, config: Config) -> Outcome:
    """One run."""
    kind = choose("algorithm", algorithm, ALGORITHMS)
    entry = defaults(algorithm, config.env)
    arguments = constructor_arguments(entry) | {
        "population_size": population,
        "seed": seed,
        "env_kwargs": entry.env_kwargs | config.env_kwargs,
        "policy_kwargs": entry.policy_kwargs | config.policy_kwargs,
        "eval_every": 1,
    }
    arguments |= {"ec": config.ec_kwargs, "satr": config.satr_kwargs}[algorithm]
    model = kind(entry.policy, entry.env, **arguments)
    model.learn(generations=config.generations)
    returns = np.array([row["eval/mean_reward"] for row in model.history])
    reached = np.flatnonzero(returns >= config.level) if config.level is not None else np.array([])
    drift = np.nan
    if entry.env == "HalfOneMax-v0" and "bits" in model.state.rho:
        rho = np.asarray(model.state.rho["bits"])[:, 0]
        drift = float(np.abs(rho[len(rho) // 2 :] - 0.5).mean())
    lowest = float(returns[-(len(returns) // 4 or 1) :].min())
    fall = float((np.maximum.accumulate(returns) - returns)[len(returns) // 2 :].mean())
    return Outcome(returns[-1], float(reached[0] + 1) if len(reached) else np.nan, lowest, fall, drift)


def main(config: Config) -> None:
    """Print a row for each algorithm and population."""
    print(f"{config.env} {config.env_kwargs or ''}, {config.generations} generations, seeds {config.seeds}")
    print(f"{'algorithm':10}{'population':>11}{'return':>10}{'spread':>9}{'worst':>9}{'lowest':>9}{'its worst':>10}"
          f"{'fall':>8}{'reached':>9}{'drift':>8}")  # fmt: skip
    for population in config.populations:
        for algorithm in config.algorithms:
            outcomes = [play(algorithm, population, seed, config) for seed in config.seeds]
            final, reached, lowest, fall, drift = (np.array(column) for column in zip(*outcomes, strict=True))
            print(f"{algorithm:10}{population:11}{final.mean():10.1f}{final.std():9.1f}{final.min():9.1f}"
                  f"{lowest.mean():9.1f}{lowest.min():10.1f}{fall.mean():8.1f}{np.median(reached):9.0f}{drift.mean():8.3f}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.trust_region", description=__doc__))
