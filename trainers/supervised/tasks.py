"""What is learned: the data, the network, the error and the score of each task."""

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from policies.constrained import ConstrainedRSNN
from policies.names import choose, nearest
from policies.recurrent import AdLIFLayer, RecurrentLayer, ThresholdALIFLayer
from policies.reservoir import ReservoirRegressor
from policies.sequences import MODELS, AdaptiveSRNN, AdLIFNetwork, ReservoirClassifier, Response, SequenceModel
from trainers.supervised.augment import Augmentation
from trainers.supervised.config import RobotConfig, SHDConfig, SupervisedConfig
from trainers.supervised.shd import SHDDataset
from trainers.supervised.trajectories import RobotTrajectoryDataset


class Graded(NamedTuple):
    """What a batch is worth: the error to descend, and the score of every sample (B,)."""

    error: Tensor
    scores: Tensor


class Task:
    """Data and network of a task; `score` names what validation maximises or, with `lower_is_better`, minimises."""

    score: str
    lower_is_better: bool
    model: SequenceModel

    def __init__(self) -> None:
        self._sets = {split: self.make_dataset(split) for split in ("train", "validation")}

    def dataset(self, split: str) -> Any:
        """Samples of "train", "validation" or "test", the last made when it is first asked for."""
        if split not in self._sets:
            self._sets[split] = self.make_dataset(split)
        return self._sets[split]

    def make_dataset(self, split: str) -> Dataset[Any]:
        """Read or draw the samples of a split."""
        raise NotImplementedError

    def augmented(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Training inputs as they are learned from."""
        return x

    def grade(self, response: Response, targets: Tensor) -> Graded:
        """Error and scores of the responses to a batch."""
        raise NotImplementedError


class RobotTask(Task):
    """Error: mean squared distance in units of the targets' standard deviation. Score: loss = MSE(x) + MSE(y) in the units of
    the targets, as published. For a network that gives out changes, both are of their sums, which is what the arm makes of
    them."""

    score, lower_is_better = "loss", True
    model: ReservoirRegressor

    def __init__(self, config: RobotConfig) -> None:
        self.config = config
        super().__init__()
        self.model = build(ReservoirRegressor, config.model_kwargs)
        train = self.dataset("train")
        self.model.fit(train.inputs.swapaxes(0, 1), train.targets.swapaxes(0, 1))

    def grade(self, response: Response, targets: Tensor) -> Graded:
        difference = self.compared(response.outputs - targets)
        return Graded(((difference / self.model.output_scale) ** 2).mean(), (difference**2).mean(dim=0).sum(dim=1))

    def compared(self, y: Tensor) -> Tensor:
        """What errors are taken of in sequences (T, B, 2): themselves, or their sums."""
        return y.cumsum(dim=0) if self.model.differentiate else y

    def make_dataset(self, split: str) -> RobotTrajectoryDataset:
        c = self.config
        number = {"train": c.n_train, "validation": c.n_validation, "test": c.n_test}[split]
        return RobotTrajectoryDataset(split, number, c.direction, c.preset, c.scaling)


class SHDTask(Task):
    """Error: cross-entropy of the summed readout. Score: accuracy."""

    score, lower_is_better = "accuracy", False

    def __init__(self, config: SHDConfig) -> None:
        self.config = config
        super().__init__()
        options = {"inputs": config.n_channels} | config.model_kwargs
        self.model = build(choose("model", config.model, MODELS), options)
        c = config
        self.augmentation = Augmentation(c.shift_channels, c.jitter_channels, c.shift_steps, c.noise, c.drop)

    def make_dataset(self, split: str) -> SHDDataset:
        c = self.config
        return SHDDataset(
            c.data, split, c.dt, c.n_steps, c.n_channels, c.binary, c.flip, c.align_first, c.validation, seed=c.seed
        )

    def augmented(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self.augmentation(x, generator)

    def grade(self, response: Response, targets: Tensor) -> Graded:
        error = functional.cross_entropy(response.scores.float(), targets)
        return Graded(error, (response.scores.argmax(dim=1) == targets).float())


def make_task(config: SupervisedConfig) -> Task:
    """The task of a config, its network drawn with the config's seed."""
    torch.manual_seed(config.seed)
    if isinstance(config, RobotConfig):
        return RobotTask(config)
    assert isinstance(config, SHDConfig)
    return SHDTask(config)


def build(kind: type[Any], options: dict[str, Any]) -> Any:
    """A network with these options; TypeErrors of Python become one sentence with the nearest name."""
    known = known_options(kind)
    for name in options:
        if name not in known:
            raise ValueError(f"{kind.__name__} has no option '{name}'. {nearest(name, known)}")
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"{kind.__name__} cannot be made with {options}: {error}.") from error


BEHIND: dict[type[Any], tuple[type[Any], ...]] = {
    AdaptiveSRNN: (ThresholdALIFLayer, RecurrentLayer),
    AdLIFNetwork: (AdLIFLayer, RecurrentLayer),
    ReservoirClassifier: (ConstrainedRSNN,),
    ReservoirRegressor: (ConstrainedRSNN,),
}
"""Where the keyword arguments of a network go that it does not name itself."""


def known_options(kind: type[Any]) -> list[str]:
    """Names of all options of a network."""
    names = dict.fromkeys(name for cls in (kind, *BEHIND.get(kind, ())) for name in inspect.signature(cls).parameters)
    return [name for name in names if name not in ("kwargs", "size")]
