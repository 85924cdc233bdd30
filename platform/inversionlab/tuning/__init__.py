"""Searches: Ray Tune runs the trials, Optuna proposes settings."""
