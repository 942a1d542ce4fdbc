"""Serving on a device: answer requests, swap models without losing one, go back when one is bad.

Rules:

* Which models answer is one reference; a swap replaces it. A call that runs stays with the model
  that it began on, and a model is unloaded after its last call has ended.
* A candidate is loaded and warmed beside the model that serves, and is taken when it is as fast and
  its answers are sane (``gate``, ``sanity``). The old model stays until the new has served its
  probation.
* A breaker a model (``breaker``) takes out what is slow, hangs, crashes or answers nonsense;
  requests go to the previous model, else to the declared fallback.
* What decides is pure: ``gate``, ``sanity``, ``breaker``, ``times``, ``options``.
"""
