"""Brax tasks in three faces: pure functions (`tasks`), Gymnasium (`gym`), Stable-Baselines3 (`vec_env`)."""
