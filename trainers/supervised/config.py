"""Options of `python -m trainers.supervised`: the command line and config.yml at once."""

from dataclasses import dataclass, field

from trainers.config import Options


@dataclass
class SupervisedConfig:
    """Options of every task."""

    epochs: int = 50
    """Most passes over the training set."""
    batch_size: int = 64
    """Samples per step of the optimiser."""
    learning_rate: float = 0.005
    """Step size at the start."""
    schedule: str = "constant"
    """How it changes: constant, step (times `step_factor` every `step_epochs`), or cosine (to 0)."""
    step_epochs: int = 10
    """Epochs between steps."""
    step_factor: float = 0.5
    """Factor of a step."""
    optimizer: str = "adam"
    """adam or adamw."""
    weight_decay: float = 0.0
    """Of weights, not of time constants, delays and biases."""
    delay_rate: float = 100.0
    """Learned delays learn that many times as fast."""
    clip: float | None = None
    """Largest norm of the gradient."""
    patience: int | None = None
    """Stop after that many epochs without a better validation score."""
    rate_weight: float = 0.0
    """Weight of the squared distance of every neuron's rate from `rate_target`."""
    rate_target: float = 0.02
    """Spikes per neuron and step."""
    synchrony_weight: float = 0.0
    """Weight of the squared distance of the Fano factor from `synchrony_target`."""
    synchrony_target: float = 1.4
    """Fano factor of the network's spikes in bins of ten steps."""
    branching_weight: float = 0.0
    """Weight of the squared distance of the branching parameter from `branching_target`."""
    branching_target: float = 1.0
    """Spikes per spike of the step before."""
    keep_every: int = 1
    """Epochs between the files epochs/epoch_0001.npz (the first and the last are always written)."""
    keep_samples: int = 4
    """Validation samples whose spikes and outputs are kept, the same in every epoch."""
    seed: int = 0
    """Seed of everything."""
    device: str = "auto"
    """cpu, cuda, or auto; on cuda, matrix products run in mixed precision."""
    log_folder: str = "runs"
    """Runs are written to LOG_FOLDER/supervised/<task>_<n>/."""
    progress: bool = True
    """Show a progress bar."""
    resume: str | None = None
    """Go on with the run in this folder; epochs may grow, other flags must agree with its config.yml."""


@dataclass
class RobotConfig(SupervisedConfig):
    """Movements of a two-joint arm: joint velocities to the path of the tip, or back, by a constrained spiking network."""

    direction: str = "forward"
    """forward (velocities to path) or inverse (path to velocities)."""
    preset: str = "env"
    """Movements: env (those of RobotTrajectory-v0), eprop or published."""
    scaling: str = "fixed"
    """Of the path: fixed, or minmax (every movement stretched to [1, 10], as published)."""
    n_train: int = 1000
    """Movements to learn from."""
    n_validation: int = 200
    """Movements that choose the best epoch."""
    n_test: int = 1000
    """Movements of the final score."""
    model_kwargs: Options = field(default_factory=dict)
    """Options of the network, e.g. neurons:256 readout_decay:0.9 traces:[0,0.9,1] freeze:[recurrent] rewire:true."""
    batch_size: int = 50
    """Samples per step of the optimiser."""


@dataclass
class SHDConfig(SupervisedConfig):
    """Spiking Heidelberg Digits: twenty spoken words as spikes of 700 cochlea channels."""

    data: str = "data/shd"
    """Folder of shd_train.h5 and shd_test.h5."""
    model: str = "srnn"
    """Network: srnn, adlif, delays or reservoir."""
    model_kwargs: Options = field(default_factory=dict)
    """Options of the network, e.g. sizes:[128,128]."""
    dt: float = 0.004
    """Width of a time bin in seconds."""
    n_steps: int = 250
    """Number of bins."""
    n_channels: int = 700
    """700 or a divisor of it."""
    binary: bool = True
    """At most one spike a bin and channel."""
    flip: bool = False
    """Number channels from the top."""
    align_first: bool = False
    """Count time from the first spike."""
    validation: str = "speaker"
    """Validation set: speaker (two are held out) or stratified (a fifth of every class)."""
    shift_channels: int = 0
    """Training samples move by up to that many channels."""
    jitter_channels: float = 0.0
    """Standard deviation in channels by which each step's spikes move besides."""
    shift_steps: int = 0
    """Training samples move by up to that many steps."""
    noise: float = 0.0
    """Probability that a bin gets a spike of its own."""
    drop: float = 0.0
    """Probability that a spike is lost."""
    learning_rate: float = 0.01
    """Step size at the start."""
    schedule: str = "step"
    """How it changes: constant, step (times `step_factor` every `step_epochs`), or cosine (to 0)."""
    epochs: int = 20
    """Most passes over the training set."""


CONFIGS: dict[str, type[SupervisedConfig]] = {"robot": RobotConfig, "shd": SHDConfig}
