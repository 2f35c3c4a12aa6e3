"""No test is timed, and none waits long for XLA."""

import os

from hypothesis import HealthCheck, settings
from quick import XLA_FLAGS

# How long an example takes, or its making, says how busy the machine is and nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if os.environ.get("KERAS_BACKEND") == "jax":  # read when JAX computes for the first time
    os.environ.setdefault("XLA_FLAGS", XLA_FLAGS)
