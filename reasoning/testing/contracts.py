"""What every searcher, aggregator, generator and verifier promises, as checks for any test.

`check_searcher(my_search, {"n": 4})` runs the whole suite. For one test a promise, parametrise
over `SEARCHER_CHECKS`, whose entries take a `Case`; likewise `AGGREGATOR_CHECKS` with
`AggregatorCase`, `GENERATOR_CHECKS` with `GeneratorCase`, `VERIFIER_CHECKS` with `VerifierCase`. A
broken promise is an AssertionError.

>>> @pytest.mark.parametrize("check", SEARCHER_CHECKS)
... def test_my_search(check):
...     check(Case(searcher=my_search, params={"n": 4}))
"""

from __future__ import annotations

from reasoning.testing.aggregator_contract import (
    AGGREGATOR_CHECKS,
    AggregatorCase,
    check_aggregator,
)
from reasoning.testing.generator_contract import (
    GENERATOR_CHECKS,
    GeneratorCase,
    check_generator,
    check_sample,
)
from reasoning.testing.searcher_contract import SEARCHER_CHECKS, check_searcher
from reasoning.testing.searcher_run import Case, Run, check_accounts
from reasoning.testing.verifier_contract import (
    STRANGE_TEXTS,
    VERIFIER_CHECKS,
    VerifierCase,
    check_verifier,
)

__all__ = [
    "AGGREGATOR_CHECKS",
    "GENERATOR_CHECKS",
    "SEARCHER_CHECKS",
    "STRANGE_TEXTS",
    "VERIFIER_CHECKS",
    "AggregatorCase",
    "Case",
    "GeneratorCase",
    "Run",
    "VerifierCase",
    "check_accounts",
    "check_aggregator",
    "check_generator",
    "check_sample",
    "check_searcher",
    "check_verifier",
]
