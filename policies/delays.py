"""Connections with delays that are learned, for torch."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class DelayedLinear(nn.Module):
    """y_i(t) = sum_j w_ij x_j(t - d_ij), with weights and delays learned (Hammouamri, Khalfaoui-Hassani & Masquelier, ICLR
    2024, arXiv 2306.17670; dilated convolutions with learnable spacings).

    While learning, a connection is spread over neighbouring delays by a Gaussian of width `width` around its own, which gives
    the delay a gradient; narrow the width as learning goes on (`narrow`). In evaluation every delay is rounded to a whole
    step. Delays stay in 0 to `max_delay` steps (`project`). Weights begin as those of `nn.Linear`, delays uniform.

    :param inputs: size of the input
    :param outputs: size of the output
    :param max_delay: longest delay in steps
    """

    def __init__(self, inputs: int, outputs: int, max_delay: int) -> None:
        super().__init__()
        if max_delay < 1:
            raise ValueError(f"max_delay={max_delay} must be at least 1 step.")
        self.max_delay = max_delay
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.delay = nn.Parameter(max_delay * torch.rand(outputs, inputs))
        self.width: Tensor
        self.register_buffer("width", torch.tensor(max_delay / 2))

    def forward(self, x: Tensor) -> Tensor:
        """Currents (T, B, outputs) of inputs (T, B, inputs), numbers or bytes; nothing came before the first step."""
        steps = torch.arange(self.max_delay, -1, -1, device=x.device)  # a convolution's last tap is the present
        if self.training:
            spread = torch.exp(-0.5 * ((steps - self.delay[..., None]) / self.width) ** 2)
            kernel = spread / (spread.sum(dim=-1, keepdim=True) + 1e-7)
        else:
            kernel = (steps == self.delay.round()[..., None]).to(self.weight.dtype)
        x = x.to(kernel.dtype) if x.dtype == torch.uint8 else x
        padded = functional.pad(x.permute(1, 2, 0), (self.max_delay, 0))
        return functional.conv1d(padded, self.weight[..., None] * kernel).permute(2, 0, 1)

    def narrow(self, progress: float, least: float = 0.5) -> None:
        """Set the width for a part of learning that is over: from max_delay / 2 exponentially to `least` at a quarter."""
        start = self.max_delay / 2
        self.width.fill_(max(least, start * (least / start) ** (4.0 * progress)) if start > least else least)

    @torch.no_grad()
    def project(self) -> None:
        """Keep delays in their range."""
        self.delay.clamp_(0.0, float(self.max_delay))
