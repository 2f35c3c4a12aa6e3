"""Training on many devices, of one machine or of many: who takes part, who reads what, who writes.

Keras splits the step itself among devices, on the JAX backend. Here is what that leaves to a program: finding the processes and
devices (`hosts`, `devices`), talking between processes and noticing that one has died (`line`), a model that all train and each
evaluates by itself (`team`), and the validation in shares (`validation`).
"""
