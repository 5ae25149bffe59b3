"""Stable-Baselines3 policies, registered by name when `policies` is imported."""

import contextlib

# Brax installs old `gym`, Stable-Baselines3 imports it when it is there, and it prints a notice.
with contextlib.suppress(ImportError):
    from gym_notices import notices

    notices.notices.clear()
