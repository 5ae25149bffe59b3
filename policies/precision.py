"""Products of layers in half precision."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from policies.names import nearest

PRECISIONS = ("float32", "bfloat16")


class BFloat16Linear(nn.Linear):
    """A linear map whose product, and those of its gradients, are taken in bfloat16: 8 bits of every number, sums in float32
    inside the product. Parameters, their gradients and outputs are float32; spikes are exact in bfloat16.

    Where the processor has such products (AVX512-BF16, AMX, GPUs from Ampere on) they take about half of the time of
    float32 ones; elsewhere they are slower.
    """

    def forward(self, x: Tensor) -> Tensor:
        y = functional.linear(x.bfloat16(), self.weight.bfloat16()).to(self.weight.dtype)
        return y if self.bias is None else y.add_(self.bias)  # in place: fresh memory costs more than the sum


def check_precision(precision: str) -> None:
    """ValueError unless it is "float32" or "bfloat16"."""
    if precision not in PRECISIONS:
        raise ValueError(f"Unknown precision '{precision}'. {nearest(precision, PRECISIONS)}")


def to_bfloat16(net: nn.Sequential, which: slice) -> None:
    """Take the products of some of a network's linear layers in bfloat16, with the same parameters.

    :param which: of its linear layers; best not one that reads observations or gives values
    """
    linear = [i for i, layer in enumerate(net) if type(layer) is nn.Linear]
    for i in linear[which]:
        layer: Any = net[i]
        half = BFloat16Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        half.weight, half.bias = layer.weight, layer.bias
        net[i] = half
