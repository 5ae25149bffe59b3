"""Fine-tuning of one policy."""

from trainers.continual.methods.base import Method


class FineTuneOne(Method):
    """One actor goes on learning from task to task; nothing keeps it from forgetting."""
