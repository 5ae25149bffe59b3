"""The continual methods by name."""

from trainers.continual.methods.base import Method
from trainers.continual.methods.csp import SubspaceOfPolicies
from trainers.continual.methods.ewc import EWC
from trainers.continual.methods.ft_1 import FineTuneOne
from trainers.continual.methods.ft_l2 import FineTuneL2
from trainers.continual.methods.ft_n import FineTuneEach
from trainers.continual.methods.packnet import PackNet
from trainers.continual.methods.pnn import ProgressiveNetworks
from trainers.continual.methods.replay import Replay
from trainers.continual.methods.rewire import Rewire
from trainers.continual.methods.sac_n import FromScratch

METHODS: dict[str, type[Method]] = {
    "rewire": Rewire,
    "ft_1": FineTuneOne,
    "sac_n": FromScratch,
    "ft_n": FineTuneEach,
    "ft_l2": FineTuneL2,
    "ewc": EWC,
    "pnn": ProgressiveNetworks,
    "packnet": PackNet,
    "csp": SubspaceOfPolicies,
    "replay": Replay,
}
ANY_POLICY = tuple(name for name, cls in METHODS.items() if not cls.needs_layers)
"""Those that do not work on the layers of MlpPolicy."""
