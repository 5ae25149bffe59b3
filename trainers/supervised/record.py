"""What is kept of every epoch, for plots: epochs/epoch_0001.npz."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.checkpoint import write_atomically
from trainers.supervised.config import SupervisedConfig
from trainers.supervised.tasks import Task


class Recorder:
    """Writes a file per epoch with these keys, NAME running over the network's matrices of weights:

        NAME_weights, NAME_gradients   after the epoch; of its last batch (float32)
        NAME_gradient_norms, losses    of every batch of the epoch
        spikes, spikes_shape           of the first validation samples, bits packed along the neurons: unpack with
                                       np.unpackbits(spikes, axis=-1, count=spikes_shape[-1])
        firing_rates                   spikes per step of every neuron on those samples
        inputs, outputs, expected      of those samples (T, K, ·); for classes, the scores and labels (K, ·)
        predicted, labels              of the whole validation set (classes only)

    epoch_0000.npz has the weights before learning.
    """

    def __init__(self, task: Task, config: SupervisedConfig, folder: Path, device: torch.device) -> None:
        self.task, self.config, self.folder, self.device = task, config, folder, device
        self.begin()

    def initial(self) -> None:
        """Write the weights before learning."""
        self._save(0, self._weights())

    def begin(self) -> None:
        """Forget the last epoch's batches."""
        self.losses: list[float] = []
        self.norms: dict[str, list[float]] = {name: [] for name, p in self._parameters() if p.requires_grad}

    def batch(self, loss: float) -> None:
        """Note the loss and the gradients of a batch."""
        self.losses.append(loss)
        for name, parameter in self._parameters():
            if parameter.grad is not None:
                self.norms[name].append(float(parameter.grad.norm()))

    @torch.no_grad()
    def write(self, epoch: int, answers: np.ndarray, last: bool) -> None:
        """Write the epoch's file, if it is its turn; `answers` are the classes given to the validation samples (N,)."""
        if not (last or epoch == 1 or epoch % self.config.keep_every == 0):
            return
        model = self.task.model.eval()
        data: Any = self.task.dataset("validation")
        x, y = data.__getitems__(range(min(self.config.keep_samples, len(data))))
        response = model(x.to(self.device))
        spikes = torch.cat(response.spikes, dim=2).cpu().numpy().astype(bool)
        arrays: dict[str, np.ndarray] = {
            "losses": np.array(self.losses, np.float32),
            "spikes": np.packbits(spikes, axis=-1),
            "spikes_shape": np.array(spikes.shape),
            "firing_rates": spikes.mean(axis=(0, 1), dtype=np.float32),
            "inputs": x.numpy(),
            "expected": y.numpy(),
            "outputs": (response.scores if y.ndim == 1 else response.outputs).cpu().numpy(),
        }
        if y.ndim == 1:
            arrays |= {"predicted": answers, "labels": data.labels}
        arrays |= self._weights()
        arrays |= {f"{name}_gradients": p.grad.cpu().numpy() for name, p in self._parameters() if p.grad is not None}
        arrays |= {f"{name}_gradient_norms": np.array(norms, np.float32) for name, norms in self.norms.items()}
        self._save(epoch, arrays)

    def _parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Matrices of weights by name: input, recurrent and output, or longer ones where there are several of a kind."""
        named = self.task.model.named_parameters()
        return [(n.removeprefix("network.").removesuffix(".weight").replace(".", "_"), p) for n, p in named if p.ndim == 2]

    def _weights(self) -> dict[str, np.ndarray]:
        return {f"{name}_weights": p.detach().cpu().numpy() for name, p in self._parameters()}

    def _save(self, epoch: int, arrays: dict[str, np.ndarray]) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_atomically(self.folder / f"epoch_{epoch:04d}.npz", buffer.getvalue())
