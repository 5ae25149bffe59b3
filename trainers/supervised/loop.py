"""Learning from examples: epochs, validation, early stop, files of every epoch, and going on after an interruption."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import TensorBoardOutputFormat
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from policies.names import choose
from trainers import checkpoint
from trainers.progress import Interruption
from trainers.supervised.config import SupervisedConfig
from trainers.supervised.losses import activity_penalty, mean_rate
from trainers.supervised.record import Recorder
from trainers.supervised.tasks import Graded, Task
from trainers.tables import write_csv
from trainers.torch_state import load_module, load_optimizer, module_arrays, optimizer_arrays

SCHEDULES = ("constant", "step", "cosine")
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Trainer:
    """Fits the network of a task; everything random in an epoch is drawn from (seed, epoch).

    :param task: data, network and error
    :param config: how to learn
    :param folder: where metrics.csv, the TensorBoard file, checkpoint.zip, best_model.zip and epochs/ go
    """

    def __init__(self, task: Task, config: SupervisedConfig, folder: Path) -> None:
        _check(config)
        self.task, self.config, self.folder = task, config, folder
        self.device = _device(config.device)
        self.model = task.model.to(self.device)
        self.optimizer = self._make_optimizer()
        self.epoch = 0
        self.best = math.inf if task.lower_is_better else -math.inf
        self.waited = 0
        self.history: list[dict[str, float]] = []
        self.recorder = Recorder(task, config, folder / "epochs", self.device)

    def fit(self, progress: Any = None) -> bool:
        """Learn until the last epoch or the early stop; True when Ctrl-C ended it before, after a checkpoint."""
        train = self.task.dataset("train")
        board = TensorBoardOutputFormat(str(self.folder))
        if not self.history:
            self.recorder.initial()
        with Interruption() as interruption:
            while self.epoch < self.config.epochs and not self._waited_enough():
                row = self._train(train, interruption)
                if row is None:
                    break
                outcome, answers = self._play("validation")
                row |= {f"validation/{k}": v for k, v in outcome.items()}
                self.epoch += 1
                self.history.append({"time/epoch": self.epoch, **row})
                self._keep_best(row[f"validation/{self.task.score}"])
                self.recorder.write(self.epoch, answers, last=self.epoch == self.config.epochs or self._waited_enough())
                write_csv(self.folder / "metrics.csv", self.history)
                board.write(self.history[-1], dict.fromkeys(self.history[-1], ()), self.epoch)
                self.save(self.folder / "checkpoint.zip")
                if progress is not None:
                    progress(self.epoch, self.history[-1])
        board.close()
        return interruption.requested and self.epoch < self.config.epochs and not self._waited_enough()

    def evaluate(self, split: str) -> dict[str, float]:
        """Mean error, score and spikes per neuron and step on a split."""
        return self._play(split)[0]

    @torch.no_grad()
    def _play(self, split: str) -> tuple[dict[str, float], np.ndarray]:
        """What `evaluate` gives, and the class with the largest score for every sample."""
        self.model.eval()
        answers = []
        errors, scores, rates, counts = 0.0, 0.0, 0.0, 0
        for x, y in self._batches(self.task.dataset(split)):
            response, graded = self._graded(x, y)
            n = len(graded.scores)
            errors += n * float(graded.error)
            scores += float(graded.scores.sum())
            rates += n * mean_rate(response.spikes)
            counts += n
            answers.append(response.scores.argmax(dim=1).cpu().numpy())
        means = {"error": errors / counts, self.task.score: scores / counts, "rate": rates / counts}
        return means, np.concatenate(answers)

    def save(self, path: Path) -> None:
        """Everything needed to go on exactly, as arrays and JSON."""
        arrays = module_arrays(self.model) | optimizer_arrays(self.optimizer)
        meta = {"epoch": self.epoch, "best": self.best, "waited": self.waited, "history": self.history}
        checkpoint.save(path, arrays, meta)

    def load(self, path: Path) -> None:
        """Go on where `save` was called; `CheckpointError` for another network's file."""
        arrays, meta = checkpoint.load(path)
        load_module(self.model, arrays, path)
        load_optimizer(self.optimizer, arrays)
        self.epoch, self.best, self.waited, self.history = (meta[k] for k in ("epoch", "best", "waited", "history"))

    def _train(self, dataset: Any, interruption: Interruption) -> dict[str, float] | None:
        """One epoch; None when it was interrupted."""
        c = self.config
        torch.manual_seed(int(np.random.SeedSequence([c.seed, self.epoch]).generate_state(1)[0]))
        generator = torch.Generator().manual_seed(torch.initial_seed())
        self.model.train()
        self.model.learned(self.epoch / c.epochs)
        rate = learning_rate(c, self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        totals = np.zeros(3)
        count = 0
        self.recorder.begin()
        for x, y in self._batches(dataset, generator):
            if interruption.requested:
                return None
            response, graded = self._graded(self.task.augmented(x, generator), y)
            penalty = activity_penalty(
                response.spikes,
                (c.rate_weight, c.rate_target),
                (c.synchrony_weight, c.synchrony_target),
                (c.branching_weight, c.branching_target),
            )
            self.optimizer.zero_grad()
            (graded.error + penalty).backward()
            if c.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
            self.recorder.batch(float(graded.error.detach()))
            self.optimizer.step()
            self.model.project()
            n = len(graded.scores)
            totals += n * np.array(
                [float(graded.error.detach()), float(graded.scores.detach().mean()), mean_rate(response.spikes)]
            )
            count += n
        error, score, rate_of_spikes = totals / count
        return {
            "train/error": error,
            f"train/{self.task.score}": score,
            "train/learning_rate": rate,
            "spike/rate": rate_of_spikes,
        }

    def _graded(self, x: Tensor, y: Tensor) -> tuple[Any, Graded]:
        mixed = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            response = self.model(x.to(self.device))
        return response, self.task.grade(response, y.to(self.device))

    def _batches(self, dataset: Any, generator: torch.Generator | None = None) -> DataLoader[Any]:
        """Batches in random order with a generator, in order without."""
        sampler = None if generator is None else RandomSampler(dataset, generator=generator)
        return DataLoader(dataset, self.config.batch_size, sampler=sampler, collate_fn=dataset.collate)

    def _keep_best(self, score: float) -> None:
        better = score < self.best if self.task.lower_is_better else score > self.best
        if better:
            self.best, self.waited = score, 0
            checkpoint.save(
                self.folder / "best_model.zip", module_arrays(self.model), {"epoch": self.epoch, self.task.score: score}
            )
        else:
            self.waited += 1

    def _waited_enough(self) -> bool:
        return self.config.patience is not None and self.waited >= self.config.patience

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """Weights decay, all else does not; delays learn faster."""
        c = self.config
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                delay = name.endswith("delay")
                decay = c.weight_decay if parameter.ndim > 1 and not delay else 0.0
                groups.setdefault((c.delay_rate if delay else 1.0, decay), []).append(parameter)
        parts = [{"params": params, "scale": scale, "weight_decay": decay} for (scale, decay), params in groups.items()]
        return OPTIMIZERS[c.optimizer](parts, lr=c.learning_rate)  # type: ignore[call-arg]


def learning_rate(c: SupervisedConfig, epoch: int) -> float:
    """Step size in an epoch (from 0)."""
    if c.schedule == "step":
        return c.learning_rate * c.step_factor ** (epoch // c.step_epochs)
    if c.schedule == "cosine":
        return c.learning_rate * 0.5 * (1.0 + math.cos(math.pi * epoch / c.epochs))
    return c.learning_rate


def _check(c: SupervisedConfig) -> None:
    choose("schedule", c.schedule, dict.fromkeys(SCHEDULES))
    choose("optimizer", c.optimizer, OPTIMIZERS)
    for name in ("epochs", "batch_size", "step_epochs", "keep_every", "keep_samples"):
        if getattr(c, name) < 1:
            raise ValueError(f"{name}={getattr(c, name)} must be at least 1.")
    if not 0 < c.learning_rate < math.inf:
        raise ValueError(f"learning_rate={c.learning_rate} must be positive.")
    if c.patience is not None and c.patience < 1:
        raise ValueError(f"patience={c.patience} must be at least 1 epoch.")
    if c.clip is not None and not c.clip > 0:
        raise ValueError(f"clip={c.clip} must be positive.")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device='{name}' must be cpu, cuda or auto.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda' was asked for, but torch finds no GPU; use cpu or auto.")
    return torch.device(name)
