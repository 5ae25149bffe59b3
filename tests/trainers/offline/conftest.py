import numpy as np
import pytest
from gymnasium import spaces

from trainers.offline.dataset import OfflineDataset


@pytest.fixture
def bandit() -> OfflineDataset:
    """One-step episodes with reward -(a - s_0 - 0.5)^2: the best action is s_0 + 0.5. Actions were uniform in [-2, 2]."""
    rng = np.random.default_rng(0)
    s = rng.uniform(-1, 1, (4000, 2)).astype(np.float32)
    a = rng.uniform(-2, 2, (4000, 1)).astype(np.float32)
    ends = np.ones(4000, bool)
    rewards = -((a[:, 0] - s[:, 0] - 0.5) ** 2)
    return OfflineDataset(
        s, a, rewards, s, ends, ends, spaces.Box(-1, 1, (2,)), spaces.Box(-2, 2, (1,)), {"dataset": "bandit"}
    )
