"""The choice among any candidates: costs in passes, and sentences where all cost the same."""

from __future__ import annotations

import time

import numpy as np
import pytest

from evalkit.analysis.choice.candidates import variant_text
from evalkit.analysis.choice.rule import Candidate, Criterion, choose
from evalkit.analysis.facts import cost_in_passes
from tests.builders import explainer_facts


@pytest.fixture
def chosen():
    """Choose among candidates of these names and passes by their scores, a column each."""

    def call(passes, columns, *, margin=0.02, n_resamples=2_000):
        return choose(
            [Candidate(name, f"e({name})", cost) for name, cost in passes.items()],
            np.stack(columns, axis=1),
            Criterion("insertion", "higher", 1.0, margin),
            noun="setting",
            seed=0,
            n_resamples=n_resamples,
        )

    return call


def near(rng, count, n_images, spread=0.005):
    """Return columns of nearly equal scores whose means are equal."""
    noise = rng.normal(0, spread, (count, n_images))
    return list(rng.normal(0.5, 0.1, n_images) + noise - noise.mean(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"forward_passes": 500}, 500),
        ({"forward_passes": 0}, 0),
        ({"backward_passes": 1}, 3),
        ({"forward_passes": 50, "backward_passes": 50}, 150),
        ({"forward_passes": 4000, "mean_passes": (1250.04, 0.0)}, 1250.0),
        ({"forward_passes": 4000, "backward_passes": 9, "mean_passes": (10.5, 2.25)}, 15.0),
    ],
)
def test_a_backward_pass_costs_two_and_means_count(changes, passes):
    cost = cost_in_passes(explainer_facts("rise", **changes))
    assert cost == passes
    assert isinstance(cost, float) == ("mean_passes" in changes)


def test_the_cheapest_within_the_margin_is_chosen_by_passes(chosen, rng):
    found = chosen({"masks=4000": 4000, "masks=500": 500}, near(rng, 2, 240))
    assert (found.chosen, found.decided, found.tied_with) == (1, True, ("e(masks=4000)",))
    better = near(rng, 2, 240)
    found = chosen({"masks=4000": 1250.5, "masks=500": 500}, [better[0] + 0.0001, better[1]])
    assert found.reason.endswith("on 240 images, and needs 500 passes instead of 1250.5.")


def test_equal_costs_choose_the_best_mean_and_say_so(chosen, rng):
    columns = near(rng, 3, 240)
    found = chosen({"layer=a": 3, "layer=b": 3, "layer=c": 3}, [columns[0], columns[1] + 0.0005, columns[2]])
    assert (found.chosen, found.decided) == (1, True)
    assert found.tied_with == ("e(layer=a)", "e(layer=c)")
    assert found.reason.startswith("layer=b has the best mean on 240 images and is at most 0.0")
    assert found.reason.endswith("of insertion worse than any other setting; every setting needs 3 passes.")
    assert chosen({"a": 1, "b": 1}, near(rng, 2, 240)).reason.endswith("every setting needs 1 pass.")


def test_undecided_at_equal_costs_names_the_rival_but_no_cheaper_one(chosen, rng):
    first, second = near(rng, 2, 20, spread=0.3)
    found = chosen({"layer=a": 3, "layer=b": 3, "layer=c": 3}, [first, second + 0.01, np.zeros(20)])
    assert (found.chosen, found.decided, found.tied_with) == (1, False, ("e(layer=a)",))
    assert found.reason.startswith(
        "Undecided on 20 images: layer=b has the best mean insertion; every setting needs 3 passes, and "
        "layer=a may be better by 0.02; "
    )


def test_a_missing_value_is_called_default():
    assert variant_text({"layer": None, "reduce": "sum"}) == "layer=default, reduce=sum"


def test_thirteen_layers_on_fifty_images_take_under_two_seconds(chosen, rng):
    columns = [rng.normal(0.5, 0.1, 50) + 0.01 * layer for layer in range(13)]
    start = time.process_time()
    found = chosen({f"layer={layer}": 3 for layer in range(13)}, columns, n_resamples=10_000)
    assert time.process_time() - start < 2
    assert not found.decided
