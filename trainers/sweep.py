"""`python -m trainers.sweep ec --env Hopper --trials 50`: search for hyper-parameters with Optuna."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from policies.names import choose
from trainers.checkpoint import write_atomically
from trainers.cli import parse
from trainers.config import CONFIGS, parse_yaml
from trainers.experiment.display import Display
from trainers.experiment.folders import REWARDS, read_metrics
from trainers.experiment.grid import Run, check_option
from trainers.experiment.launcher import Job, launch, locked
from trainers.experiment.reading import find_file
from trainers.experiment.slots import make_slots
from trainers.make_env import find_env_id
from trainers.progress import INTERRUPTED

if TYPE_CHECKING:
    import optuna

GIVEN_UP = "given_up"
"""Attribute of a study: numbers of the trials that were interrupted and queued again."""


@dataclass
class SweepConfig:
    """Search for hyper-parameters: every trial is an ordinary run, whose last evaluation is its value.

    Everything is in runs/sweeps/<study>/; the same command goes on where an earlier one was stopped, trials that were
    interrupted included, and with a greater number of trials adds some. The best trial is written to best.yml, an entry for
    zoo_configs/<algorithm>.yml."""

    algorithm: Annotated[str, tyro.conf.Positional]
    """Algorithm: ec, es, ..."""
    options: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Options of every run, such as generations=50 policy_kwargs.num_neurons=128; what is in the search space is fixed."""
    env: str = "BraxHumanoid-v0"
    """Environment: a Brax task name (Humanoid) or any Gymnasium id."""
    trials: int = 20
    """Trials of the study, those of earlier commands included."""
    study: str | None = None
    """Name of the study (default: <algorithm>_<environment>)."""
    storage: str | None = None
    """Where Optuna keeps it (default: sqlite in the study's folder)."""
    space: str | None = None
    """Search space: a YAML file, or the name of one of zoo_configs/spaces (default: that of the algorithm)."""
    sampler: str = "random"
    """How trials are drawn: random, as published, or tpe."""
    pruner: str = "median"
    """Which trials are stopped early: those below the median of the others at the same generation (median), all but the
    best quarter again and again (halving), or none."""
    prune_after: int = 10
    """Generations that every trial may take."""
    seed: int = 0
    """Trial n has the seed 1000 * SEED + n."""
    jobs: int | None = None
    """Runs at once (default: one a free GPU; without any, one for every two cores)."""
    cores_per_run: int | None = None
    """CPU cores of each (default: an equal share)."""
    log_folder: str = "runs"
    """Everything is written to LOG_FOLDER/sweeps/<study>/."""


def main(args: list[str] | None = None) -> None:
    """Exit code 2 with one sentence when something given is wrong, 1 when no trial was completed, 130 after Ctrl-C."""
    config = tyro.cli(SweepConfig, args=args, prog="python -m trainers.sweep")
    try:
        sys.exit(sweep(config))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def sweep(config: SweepConfig) -> int:
    """Play the trials; the exit code."""
    choose("algorithm", config.algorithm, CONFIGS)
    if config.trials < 1:
        raise ValueError(f"trials={config.trials} must be at least 1.")
    env = find_env_id(config.env)
    fixed = _fixed_options(config)
    space = _read_space(config, fixed)
    slots = make_slots(config.jobs, config.cores_per_run)
    name = config.study or f"{config.algorithm}_{env}"
    root = Path(config.log_folder) / "sweeps" / name
    parse(config.algorithm, Run(name, env, 0, config.algorithm, fixed).words)
    described = {"env": env, "algorithm": config.algorithm, "fixed": fixed, "space": space}
    sampler, pruner = _strategies(config)
    with locked(root) as lock:
        study = _open_study(name, config.storage or f"sqlite:///{root}/study.db", pruner, described)
        # A seed of its own for every continuation, or it would draw the first trials again.
        study.sampler = sampler(seed=1000 * config.seed + len(study.trials))
        trials = Trials(study, space, Run("", env, 1000 * config.seed, config.algorithm, fixed), root, config.trials)
        with Display() as display:
            complete = launch(trials, slots, lock, lambda: display(trials.jobs), trials.hopeless, trials.ended)
    for job in trials.jobs:
        if job.state == "failed":
            print(f"failed: {job.folder}: {job.message} ({job.folder / 'log.txt'})", file=sys.stderr)
    found = _write_best(study, env, fixed, root)
    if not complete:
        print("Interrupted; the same command goes on.")
        return INTERRUPTED
    return 0 if found else 1


class Trials:
    """The trials of a study as jobs, asked for one by one, and what Optuna is told of them."""

    def __init__(self, study: "optuna.Study", space: dict[str, Any], run: Run, root: Path, total: int) -> None:
        self.study, self.space, self.run, self.root, self.total = study, space, run, root, total
        self.jobs: list[Job] = []
        self._trials: dict[int, optuna.Trial] = {}
        self._told: dict[int, int] = {}  # the last generation of each that Optuna knows

    def __iter__(self) -> Iterator[Job]:
        while self._begun() < self.total:
            trial = self.study.ask()
            number = int(trial.user_attrs.get("first_number", trial.number))
            options = _nested(self.run.options, suggest(trial, self.space))
            run = Run(f"trial_{number}", self.run.env, self.run.seed + number, self.run.algorithm, options)
            job = Job(run, self.root / run.label)
            self.jobs.append(job)
            self._trials[id(job)] = trial
            yield job

    def _begun(self) -> int:
        """Trials without those that are queued, and without those whose place was taken by a queued one."""
        states = [trial.state.name for trial in self.study.trials]
        return len(states) - states.count("WAITING") - len(self.study.user_attrs.get(GIVEN_UP, []))

    def hopeless(self, job: Job) -> bool:
        """Tell Optuna of new evaluations; whether it would stop the trial."""
        trial, told = self._trials[id(job)], self._told.get(id(job), 0)
        if job.progress is None or job.progress.generation <= told:
            return False
        self._told[id(job)] = job.progress.generation
        for generation, value in _evaluations(job.folder):
            if generation > told:
                trial.report(value, generation)
        return bool(trial.should_prune())

    def ended(self, job: Job) -> None:
        """Tell Optuna how a trial ended; one that Ctrl-C stopped stays open."""
        from optuna.trial import TrialState

        trial = self._trials[id(job)]
        values = _evaluations(job.folder)
        if job.state == "finished" and values:
            self.study.tell(trial, values[-1][1])
        elif job.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        elif job.state != "stopped":
            job.state, job.message = "failed", job.message or "it was never evaluated"
            self.study.tell(trial, state=TrialState.FAIL)


def suggest(trial: "optuna.Trial", space: dict[str, Any]) -> dict[str, Any]:
    """Draw a value for every name of a space: of a list, or between low and high."""
    values: dict[str, Any] = {}
    for name, spec in space.items():
        if isinstance(spec, list):
            values[name] = trial.suggest_categorical(name, spec)
        else:
            whole = isinstance(spec["low"], int) and isinstance(spec["high"], int)
            draw: Any = trial.suggest_int if whole else trial.suggest_float
            values[name] = draw(name, spec["low"], spec["high"], log=spec.get("log", False))
    return values


def _evaluations(folder: Path) -> list[tuple[int, float]]:
    """Generations of a run and returns of the deployed network."""
    return [(int(row["time/iterations"]), float(row[REWARDS[0]])) for row in read_metrics(folder) if row.get(REWARDS[0])]


def _nested(options: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The options and the values, of which "policy_kwargs.num_neurons" goes into `policy_kwargs`."""
    merged = {name: dict(value) if isinstance(value, dict) else value for name, value in options.items()}
    for name, value in values.items():
        option, _, key = name.partition(".")
        if key:
            merged.setdefault(option, {})[key] = value
        else:
            merged[option] = value
    return merged


def _fixed_options(config: SweepConfig) -> dict[str, Any]:
    for word in config.options:
        if "=" not in word:
            raise ValueError(f"'{word}' is not of the form key=value.")
    try:
        options = OmegaConf.to_container(OmegaConf.from_dotlist(list(config.options)), resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    assert isinstance(options, dict)
    cls = CONFIGS[config.algorithm]
    return {str(n): check_option(cls, config.algorithm, str(n), value, "command line") for n, value in options.items()}


def _read_space(config: SweepConfig, fixed: dict[str, Any]) -> dict[str, Any]:
    """The search space without what is fixed; ValueError for names and values that the algorithm does not take."""
    path = find_file(config.space or config.algorithm, "spaces")
    space = parse_yaml(path.read_text())
    if not isinstance(space, dict):
        raise ValueError(f"{path} must hold names and their values, such as 'sigma: [0.02, 0.3]'.")
    for name, spec in space.items():
        interval = isinstance(spec, dict) and {"low", "high"} <= set(spec) <= {"low", "high", "log"}
        if not (interval and spec["low"] < spec["high"]) and not (isinstance(spec, list) and spec):
            raise ValueError(f"{path}: {name} must be a list of values, or low, high and perhaps log, but is {spec!r}.")
        option, _, key = str(name).partition(".")
        for value in spec if isinstance(spec, list) else [spec["low"], spec["high"]]:
            check_option(CONFIGS[config.algorithm], config.algorithm, option, {key: value} if key else value, str(path))
    flat = {f"{name}.{key}" for name, value in fixed.items() if isinstance(value, dict) for key in value} | set(fixed)
    free = {name: spec for name, spec in space.items() if name not in flat}
    if not free:
        raise ValueError(f"Every name of {path} is fixed; there is nothing to search.")
    return free


def _strategies(config: SweepConfig) -> "tuple[Callable[..., optuna.samplers.BaseSampler], optuna.pruners.BasePruner]":
    """The sampler's class and the pruner."""
    try:
        import optuna
    except ImportError as error:
        raise ValueError("This command needs Optuna: pip install 'spikegym[sweep]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers: dict[str, Any] = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    pruners: dict[str, Any] = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=config.prune_after),
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, config.prune_after)),
        "none": optuna.pruners.NopPruner(),
    }
    return choose("sampler", config.sampler, samplers), choose("pruner", config.pruner, pruners)


def _open_study(name: str, storage: str, pruner: Any, described: dict[str, Any]) -> "optuna.Study":
    """A new study, or the one of that name, whose interrupted trials are queued again; ValueError if that is another."""
    import optuna
    from optuna.trial import TrialState

    study = optuna.create_study(study_name=name, storage=storage, pruner=pruner, direction="maximize", load_if_exists=True)
    for key, value in described.items():
        if study.user_attrs.get(key, value) != value:
            raise ValueError(
                f"The study '{name}' is another one: its {key} is {study.user_attrs[key]}, not {value}; give another name."
            )
        study.set_user_attr(key, value)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.set_user_attr(GIVEN_UP, [*study.user_attrs.get(GIVEN_UP, []), trial.number])
        study.tell(trial.number, state=TrialState.FAIL)
        number = trial.user_attrs.get("first_number", trial.number)
        study.enqueue_trial(trial.params, user_attrs={"first_number": number})
    return study


def _write_best(study: "optuna.Study", env: str, fixed: dict[str, Any], root: Path) -> bool:
    """Print the best trial and write it as an entry; False when there is none."""
    complete = [trial for trial in study.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    counts = {state: sum(t.state.name == state for t in study.trials) for state in ("COMPLETE", "PRUNED")}
    if not complete:
        print("No trial has been completed.")
        return False
    best = max(complete, key=lambda trial: trial.value or 0.0)
    number = best.user_attrs.get("first_number", best.number)
    entry = {env: _nested(fixed, best.params)}
    text = yaml.safe_dump(entry, sort_keys=False)
    head = f"# trial_{number} of {counts['COMPLETE']} completed and {counts['PRUNED']} pruned ones, return {best.value:.1f}\n"
    write_atomically(root / "best.yml", (head + text).encode())
    print(f"Best: return {best.value:.1f}, {root / f'trial_{number}'}\n{text}({root / 'best.yml'})")
    return True


if __name__ == "__main__":
    main()
