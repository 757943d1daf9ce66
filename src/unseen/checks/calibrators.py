"""What every calibrator must do: scores of known inputs in, p-values out.

Those that calibrate by class (trait ``"by_class"``) are asked with all inputs in two classes that take turns.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from unseen.checks._suite import Checks
from unseen.checks.detectors import raises, same
from unseen.errors import BadInput, NotFitted

CHECKS = Checks()
N = 400


def _classes(calibrator: Any, n: int) -> tuple[Any, ...]:
    """What goes beside ``n`` scores: nothing, or classes that take turns."""
    return (np.arange(n) % 2,) if "by_class" in getattr(calibrator, "traits", ()) else ()


def fitted(calibrator: Any, scores: Any) -> Any:
    """A copy that has learnt these scores."""
    return copy.deepcopy(calibrator).fit(scores, *_classes(calibrator, len(scores)))


def p_values(calibrator: Any, scores: Any) -> np.ndarray:
    """p-values of these scores."""
    return np.asarray(calibrator.p_value(scores, *_classes(calibrator, len(scores))))


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Calibration scores and scores to ask about, some of them far off, some tied."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=N), np.concatenate([rng.normal(size=100), rng.normal(size=100) - 4, np.full(20, 0.5)])


@CHECKS.demand()
def unfitted_is_named(calibrator: Any) -> None:
    """Asked before fit, it says so."""
    raises(NotFitted, lambda: p_values(calibrator, np.zeros(3)), "fit")


@CHECKS.demand()
def p_values_are_shares(calibrator: Any) -> None:
    """p-values lie above 0 and up to 1, one a score, and keep the kind of container."""
    known, asked = world()
    made = fitted(calibrator, known)
    p = p_values(made, asked)
    assert p.shape == asked.shape, f"{asked.shape} scores got p-values of shape {p.shape}"
    assert ((p > 0) & (p <= 1)).all(), f"p-values from {p.min()} to {p.max()}"
    beside = _classes(made, len(asked))
    assert isinstance(made.p_value(asked.tolist(), *beside), list), "a list went in, none came out"
    assert isinstance(made.p_value(torch.tensor(asked), *beside), torch.Tensor), "a tensor went in, none came out"


@CHECKS.demand()
def more_known_is_never_less_likely(calibrator: Any) -> None:
    """P rises with the score; far below all calibration scores it is smallest, above all of them 1."""
    known, _ = world()
    made = fitted(calibrator, known)
    steps = np.repeat(np.linspace(-5, 5, 200), 2)  # each in both classes
    p = p_values(made, steps)
    for start in (0, 1):
        assert (np.diff(p[start::2]) >= 0).all(), "p falls where the score rises"
    assert p[-1] == 1, f"above all calibration scores p is {p[-1]}"
    assert p[0] <= 2 / (N + 2) + 1e-12, f"below all calibration scores p is {p[0]}"


@CHECKS.demand()
def only_the_order_of_scores_counts(calibrator: Any) -> None:
    """A rising transform of all scores, and another order of the calibration scores, change nothing."""
    known, asked = world()
    expected = p_values(fitted(calibrator, known), asked)
    for name, rising in (("exp", np.exp), ("3x + 7", lambda x: 3 * x + 7)):
        same(p_values(fitted(calibrator, rising(known)), rising(asked)), expected, name)
    by_turns = np.random.default_rng(1).permutation(N // 2)
    order = np.stack([2 * by_turns, 2 * by_turns[::-1] + 1], axis=1).ravel()  # classes keep their turns
    same(p_values(fitted(calibrator, known[order]), asked), expected, "calibration scores in another order")


@CHECKS.demand(unless="by_class")
def the_promise_holds_for_every_rank(calibrator: Any) -> None:
    """Over all ways in which a new known score can fall among few calibration scores, ``P(p <= a) <= a``, ties too."""
    for values in ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 3.0]):
        orders = itertools.permutations(values)
        found = [float(p_values(fitted(calibrator, np.array(known)), np.array([new]))[0]) for *known, new in orders]
        for alpha in sorted(set(found)):
            share = float(np.mean([p <= alpha + 1e-12 for p in found]))
            assert share <= alpha + 1e-12, f"P(p <= {alpha:.3f}) is {share:.3f} for the scores {values}"


@CHECKS.demand()
def the_promise_holds_on_average(calibrator: Any) -> None:
    """Over draws of calibration and new scores, known inputs are called unseen at the promised rate and not less."""
    rng = np.random.default_rng(3)
    n, draws, alpha = 100, 1500, 0.1
    rates = np.empty(draws)
    for i in range(draws):
        made = fitted(calibrator, rng.normal(size=n))
        rates[i] = float((p_values(made, rng.normal(size=20)) <= alpha).mean())
    own = n // 2 if _classes(calibrator, n) else n
    promised = int(alpha * (own + 1)) / (own + 1)
    error = 4 * rates.std() / np.sqrt(draws)
    assert abs(rates.mean() - promised) < error, f"rate {rates.mean():.4f}, promised {promised:.4f} +- {error:.4f}"


@CHECKS.demand()
def not_a_number_is_named(calibrator: Any) -> None:
    """NaN is refused at fit and when asked, naming the row; so are no scores at all."""
    known, asked = world()
    made = fitted(calibrator, known)
    known[7] = asked[9] = np.nan
    raises(BadInput, lambda: fitted(calibrator, known), "row 7")
    raises(BadInput, lambda: p_values(made, asked), "row 9")
    raises(BadInput, lambda: fitted(calibrator, known[:0]))


@CHECKS.demand()
def nothing_is_written_to(calibrator: Any) -> None:
    """Scores that are given are not changed, not even sorted."""
    known, asked = world()
    before = known.copy(), asked.copy()
    p_values(fitted(calibrator, known), asked)
    assert np.array_equal(known, before[0]), "the calibration scores were written to"
    assert np.array_equal(asked, before[1]), "the scores were written to"


@CHECKS.demand()
def saved_state_answers_with_the_same_bits(calibrator: Any) -> None:
    """Tensors through safetensors make the same calibrator; so does a copy."""
    known, asked = world()
    made = fitted(calibrator, known)
    expected = p_values(made, asked)
    other = copy.deepcopy(calibrator)
    other.load_state_dict(from_safetensors(to_safetensors({k: v.clone() for k, v in made.state_dict().items()})))
    same(p_values(other, asked), expected, "after saving and loading")
    same(p_values(copy.deepcopy(made), asked), expected, "a deep copy")


@CHECKS.demand()
def exports_with_any_batch(calibrator: Any) -> None:
    """`torch.export` takes it, and agrees."""
    known, asked = world()
    made = fitted(calibrator, known).eval()
    given = (torch.tensor(asked), *map(torch.tensor, _classes(made, len(asked))))
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(made, tuple(x[:8] for x in given), dynamic_shapes=tuple({0: batch} for _ in given))
    for rows in (1, 5, len(asked)):
        same(program.module()(*(x[:rows] for x in given)), p_values(made, asked[:rows]), f"exported, {rows} rows")
