"""How tests that only want a run to come to its end are spared most of the time that graphs take to be built."""

# For JAX, in the environment: the same computations, hardly optimised.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def run_eagerly(patch) -> None:
    """Until `patch` is undone models build no graphs, which takes longer than a few steps of small images do."""
    from centerkp.model.center_net import CenterNet

    patch.setattr(CenterNet, "run_eagerly", property(lambda model: True, lambda model, value: None))
