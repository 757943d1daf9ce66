"""Signals that ask their encoder for more: once, for their own rows, and never for what is there."""

import numpy as np
import pytest

from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.signals import LayerStatistics, Perturbed, Signals, Support, joined

LAYER = LayerStatistics("a")


class Answerer:
    """Says of row i of the inputs: (i, 10 i)."""

    def __init__(self, start=0):
        self.start, self.calls = start, []

    def refusal(self, request):
        return None if request == LAYER else "it knows one layer"

    def __call__(self, rows, wanted, progress):
        self.calls.append((rows.tolist(), sorted(request.key for request in wanted)))
        if progress is not None:
            progress(len(rows), len(rows))
        return {request.key: np.outer(rows + self.start, [1.0, 10.0]).astype(np.float32) for request in wanted}


class OfLayer(Detector):
    """Reads a layer at the query and nothing at the fit."""

    needs = frozenset({LAYER})
    learns = frozenset()

    def learn(self, support):
        self.register_buffer("seen", support.gather("features").sum())

    def forward(self, signals):
        return signals[LAYER.key][:, 0]


def live(n=6, start=0):
    more = Answerer(start)
    return Signals({"features": np.arange(n, dtype=np.float32)[:, None]}, more=more), more


def test_rows_that_are_asked_about_and_no_others():
    signals, more = live()
    some = signals.take([4, 1]).asked([LAYER, "features", "logits"])
    assert more.calls == [([4, 1], [LAYER.key])]
    assert some.gather(LAYER.key).tolist() == [[4, 40], [1, 10]]
    assert some.names == ("features", LAYER.key)
    assert some.take([1]).gather(LAYER.key).tolist() == [[1, 10]]
    assert LAYER.key not in signals


def test_what_is_there_is_not_asked_again():
    signals, more = live()
    once = signals.asked([LAYER])
    assert once.asked([LAYER]) is once
    assert len(more.calls) == 1
    assert signals.asked(["features"]) is signals
    assert signals.take([]).asked([LAYER]).names == ("features",)  # nobody is asked about nobody


def test_progress_is_passed_on():
    told = []
    live()[0].asked([LAYER], lambda *at: told.append(at))
    assert told == [(6, 6)]


def test_steps_stay():
    class Doubled:
        writes = frozenset({"features"})

        def reads(self):
            return frozenset({"features"})

        def __call__(self, batch):
            return {"features": 2 * batch["features"]}

    signals, _ = live()
    batch = next(signals.through(Doubled()).asked([LAYER]).batches("features", LAYER.key))
    assert batch["features"][:, 0].tolist() == [0, 2, 4, 6, 8, 10]
    assert batch[LAYER.key][:, 1].tolist() == [0, 10, 20, 30, 40, 50]


def test_a_detector_asks_at_the_query_only():
    signals, more = live()
    detector = OfLayer().fit(Support(signals))
    assert more.calls == []
    assert detector.score(signals.take([5, 2])).tolist() == [5, 2]
    assert more.calls == [([5, 2], [LAYER.key])]


def test_nobody_at_hand_is_said():
    arrays = {"features": np.ones((3, 1), np.float32)}
    detector = OfLayer().fit(arrays)
    with pytest.raises(WrongUse, match=r"asks the encoder for LayerStatistics\(layer='a'\).*inputs are not at hand"):
        detector.score(arrays)
    signals, _ = live()
    assert signals.refusal(LAYER) is None
    assert signals.refusal(Perturbed()) == "it knows one layer"


def test_joined_signals_ask_each_part():
    (one, first), (other, second) = live(3), live(4, start=100)
    whole = joined([Support(one), Support(other)]).signals
    assert whole.refusal(LAYER) is None
    some = whole.take([5, 0, 3]).asked([LAYER])
    assert some.gather(LAYER.key)[:, 0].tolist() == [102, 0, 100]
    assert (first.calls, second.calls) == ([([0], [LAYER.key])], [([2, 0], [LAYER.key])])


def test_joined_with_arrays_nobody_is_at_hand():
    arrays = Support.of(np.ones((2, 1), np.float32))
    assert joined([Support(live(3)[0]), arrays]).signals.refusal(LAYER) == "the inputs are not at hand"
