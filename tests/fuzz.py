"""How long the tests with made-up input, and with processes that are killed, run.

``pytest --long N`` tries N times as much, and other things each time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_factor = 1


def configure(factor: int) -> None:
    """To be called before any test is imported."""
    global _factor
    _factor = factor
    settings.register_profile("ours", derandomize=factor == 1, deadline=None, print_blob=True)
    settings.load_profile("ours")


def factor() -> int:
    """How many times as much is to be tried."""
    return _factor


def examples(count: int) -> settings:
    """So many examples, or as many times more as was asked for."""
    return settings(
        max_examples=count * _factor, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )
