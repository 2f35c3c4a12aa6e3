"""No test is timed."""

from hypothesis import HealthCheck, settings

# How long an example takes, or its making, says how busy the machine is and nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
