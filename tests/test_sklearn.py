"""The scikit-learn adapter: scikit-learn's own checks, the detector's own scores, the promise on real digits."""

import copy
import warnings

import joblib
import numpy as np
import pytest
from scipy.stats import betabinom
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from unseen import KNN, Detector, Mahalanobis, OpenSetClassifier, SplitConformal, create
from unseen.classifier import set_aside
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.registry import names
from unseen.signals import Support
from unseen.sklearn import NoveltyDetector, PromiseWarning


def world(n=300, width=6, classes=3, seed=0):
    """Rows ``(N, D)`` around class means, and codes ``(N,)``."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(classes, width))[labels] * 4 + rng.normal(size=(n, width)), labels


def readers_of_features():
    """Every registered detector that a table of features can serve, behind a head where it reads logits."""
    made = {name: create(name) for name in names("detectors")}
    detectors = {name: part for name, part in made.items() if isinstance(part, Detector)}
    texts = [f"ridge >> {name}" if "logits" in part.reads() else name for name, part in detectors.items()]
    served = [text for text in texts if create(text).reads() == {"features"}]
    return [text for text in served if "uses_unknown" not in create(text).traits]


@pytest.fixture(scope="module")
def digits():
    """Rows of digits 0-6, which are known, and of 7-9, which are new."""
    data = load_digits()
    return data.data[data.target < 7], data.target[data.target < 7], data.data[data.target >= 7]


# scikit-learn's own checks

# Every check that is not expected to pass, with the reason. Others of its checks run too.
WITHOUT_Y = "fits without y, and these learn from labels: fit says so"


def excused(estimator):
    if get_tags(estimator).target_tags.required:
        return dict.fromkeys(["check_outliers_train", "check_outliers_fit_predict"], WITHOUT_Y)
    return {}


@pytest.mark.filterwarnings("ignore::unseen.sklearn.PromiseWarning")  # most checks fit on a few rows
@parametrize_with_checks(
    [
        NoveltyDetector(),
        NoveltyDetector("knn(k=1)"),
        NoveltyDetector("knn(k=5)", alpha=0.2, calibration=0.5),
        NoveltyDetector("mahalanobis(floor=0.1)", calibration=None),
        NoveltyDetector("ridge >> energy"),
        NoveltyDetector(KNN(k=3)),
    ],
    expected_failed_checks=excused,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# Scores and threshold


@pytest.mark.parametrize("text", readers_of_features())
def test_scores_and_threshold_are_those_of_the_detector(text):
    x, labels = world()
    new = world(seed=1)[0]
    support = Support.of({"features": x}, labels)
    rest, aside = set_aside(support, 0.3, seed=4)
    detector = create(text)
    if detector.labels == "ignored":  # then nothing, and so not the split, may depend on y
        support = Support.of({"features": x})
        rest, aside = set_aside(support, 0.3, seed=4)
    detector.fit(support.take(rest))
    ours = NoveltyDetector(text, alpha=0.1, calibration=0.3, random_state=4).fit(x, labels)
    np.testing.assert_array_equal(ours.score_samples(new), detector.score({"features": new}))
    conformal = SplitConformal().fit(detector.score(support.take(aside)))
    assert ours.offset_ == conformal.threshold(0.1)
    assert ours.alpha_ == 0.1
    np.testing.assert_array_equal(ours.predict(new) == -1, conformal.rejects(detector.score({"features": new}), 0.1))
    np.testing.assert_array_equal(ours.calibrator_.p_value(ours.score_samples(new)) <= 0.1, ours.predict(new) == -1)


def test_agrees_with_the_classifier():
    x, labels = world()
    new = world(seed=1)[0] * 1.3
    guard = OpenSetClassifier("arrays", "mahalanobis", seed=3).fit(x, labels)
    ours = NoveltyDetector("mahalanobis", random_state=3).fit(x, labels)
    verdicts = guard.predict(new)
    np.testing.assert_allclose(ours.score_samples(new), verdicts.familiarity, rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(new) == -1, verdicts.unseen)
    assert 0 < verdicts.unseen.sum() < len(new)


def test_the_threshold_itself_is_known():
    """Distances of axes are exact: all known rows tie at the threshold, and none of them is unseen."""
    x = np.zeros((100, 2))
    x[:, 0] = 2.0 ** (np.arange(100) % 5)
    novelty = NoveltyDetector("knn(k=1)").fit(x)
    assert novelty.offset_ == 0
    assert (novelty.decision_function(x) == 0).all()
    assert (novelty.predict(x) == 1).all()
    assert novelty.predict([[0.0, 1.0]]).tolist() == [-1]


def test_without_calibration_the_threshold_is_a_quantile_of_the_training_scores():
    x, labels = world()
    for nothing in (0, None):
        novelty = NoveltyDetector("mahalanobis", alpha=0.1, calibration=nothing).fit(x, labels)
        np.testing.assert_array_equal(novelty.score_samples(x), Mahalanobis().fit(x, labels).score(x))
        assert (novelty.predict(x) == -1).sum() == 30
        assert novelty.calibrator_ is None
        assert novelty.alpha_ is None


def test_single_precision_and_integers_are_read_as_double():
    x = np.round(world()[0] * 8)
    novelty = NoveltyDetector("mahalanobis").fit(x)
    for kind in (np.float32, np.int64, np.float16):
        other = NoveltyDetector("mahalanobis").fit(x.astype(kind))
        np.testing.assert_array_equal(other.score_samples(x.astype(kind)), novelty.score_samples(x))


# The promise


def test_few_rows_weaken_the_promise_and_say_so():
    x, _ = world(n=30)
    with pytest.warns(
        PromiseWarning,
        match=r"^alpha 0.05 needs 19 calibration scores, there are 6: .*; "
        r"until then up to 1 in 7 known rows is called unseen$",
    ) as seen:
        novelty = NoveltyDetector().fit(x)
    assert seen[0].filename == __file__  # where the user called fit
    assert novelty.alpha_ == pytest.approx(1 / 7)
    assert len(novelty.calibrator_.scores) == 6
    assert novelty.offset_ == novelty.calibrator_.scores.min()


@pytest.mark.parametrize(("n", "enough"), [(95, True), (90, False)])
def test_nineteen_rows_are_enough_for_one_in_twenty(n, enough):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        novelty = NoveltyDetector(alpha=0.05).fit(world(n=n)[0])
    assert [one.category for one in seen] == [] if enough else [PromiseWarning]
    assert (novelty.alpha_ == 0.05) == enough


@pytest.mark.filterwarnings("ignore::unseen.sklearn.PromiseWarning")
def test_the_weaker_promise_is_kept():
    """Scores of Gaussian rows never tie, so the rate is 1/7 on average over fits, not less."""
    rng = np.random.default_rng(0)
    rates = [
        (NoveltyDetector().fit(rng.normal(size=(30, 2))).predict(rng.normal(size=(50, 2))) == -1).mean()
        for _ in range(200)
    ]
    assert np.mean(rates) == pytest.approx(1 / 7, abs=4 * np.std(rates) / np.sqrt(len(rates)))


def test_false_alarms_on_digits_are_as_promised_and_new_digits_are_noticed(digits):
    known, labels, new = digits
    rng = np.random.default_rng(0)
    alarms, careless, expected, variance, caught = 0, 0, 0.0, 0.0, []
    for _ in range(12):
        order = rng.permutation(len(known))
        fit, rest = order[:500], order[500:]
        ours = NoveltyDetector("knn(k=1)", alpha=0.1).fit(known[fit], labels[fit])
        alarms += (ours.predict(known[rest]) == -1).sum()
        caught.append((ours.predict(new) == -1).mean())
        # With n scores set aside the rate of one fit is Beta(k, n + 1 - k), k = floor(0.1 (n + 1)), not 0.1 itself.
        n = len(ours.calibrator_.scores)
        k = (n + 1) // 10
        expected += betabinom.mean(len(rest), k, n + 1 - k)
        variance += betabinom.var(len(rest), k, n + 1 - k)
        theirs = NoveltyDetector("mahalanobis", alpha=0.1, calibration=None).fit(known[fit], labels[fit])
        careless += (theirs.predict(known[rest]) == -1).sum()
    assert abs(alarms - expected) < 4 * variance**0.5
    # As the docstring says: the quantile of the training scores promises nothing.
    assert careless > expected + 4 * variance**0.5
    assert min(caught) > 0.8


# Labels


def test_labels_that_a_detector_ignores_are_never_looked_at():
    x, _ = world()
    plain = NoveltyDetector("knn(k=3)").fit(x)
    for y in (np.where(np.arange(300) % 9, 1, -1), ["a", None] * 150, x):
        other = NoveltyDetector("knn(k=3)").fit(x, y)
        assert other.offset_ == plain.offset_
        np.testing.assert_array_equal(other.score_samples(x), plain.score_samples(x))


def test_labels_are_used_where_they_can_be():
    x, labels = world()
    one, several = NoveltyDetector().fit(x), NoveltyDetector().fit(x, labels)
    assert (len(one.detector_.means), len(several.detector_.means)) == (1, 3)
    between = x[:1] * 0 + several.detector_.origin.numpy()  # the middle of all rows, where no class is
    assert one.predict(between) == 1
    assert several.predict(between) == -1
    words = NoveltyDetector().fit(x, [["ant", "bee", "cow"][code] for code in labels])
    np.testing.assert_array_equal(words.score_samples(x), several.score_samples(x))


def test_fit_predict_hands_labels_on():
    x, labels = world()
    both = NoveltyDetector(alpha=0.2).fit_predict(x, labels)
    np.testing.assert_array_equal(both, NoveltyDetector(alpha=0.2).fit(x, labels).predict(x))
    assert (both != NoveltyDetector(alpha=0.2).fit(x).predict(x)).any()
    assert set(NoveltyDetector("ridge >> energy").fit_predict(x, labels)) == {-1, 1}


def test_tags_say_whether_labels_are_required():
    required = {"mahalanobis": False, "knn": False, "ridge >> energy": True, "no such thing": False}
    assert {text: get_tags(NoveltyDetector(text)).target_tags.required for text in required} == required
    assert get_tags(NoveltyDetector()).estimator_type == "outlier_detector"


# Among scikit-learn's own


def test_in_a_pipeline(digits):
    known, _, new = digits
    chain = make_pipeline(StandardScaler(), PCA(20, random_state=0), NoveltyDetector("knn(k=5)")).fit(known[::2])
    assert (chain.predict(known[1::2]) == -1).mean() < 0.1
    assert (chain.predict(new) == -1).mean() > 0.4
    by_hand = chain[-1].score_samples(chain[:-1].transform(new))
    np.testing.assert_array_equal(chain.score_samples(new), by_hand)
    assert chain[-1].n_features_in_ == 20
    with pytest.raises(ValueError, match="expecting 20 features"):
        chain[-1].predict(new)


def test_a_search_over_detectors(digits):
    """Fitted on known rows alone, compared by how well known rows are told from new ones."""
    known, _, new = digits
    x, y = np.vstack([known, new]), np.repeat([1, -1], [len(known), len(new)])
    turns = [np.flatnonzero((np.arange(len(x)) % 2 == turn) & (y == 1)) for turn in (0, 1)]
    folds = [(rows, np.setdiff1d(np.arange(len(x)), rows)) for rows in turns]
    chain = make_pipeline(PCA(20, random_state=0), NoveltyDetector())
    texts = ["knn(k=400)", "knn(k=3)"]
    search = GridSearchCV(chain, {"noveltydetector__detector": texts}, scoring="roc_auc", cv=folds, refit=False)
    search.fit(x, y)
    far, near = search.cv_results_["mean_test_score"]
    assert search.best_params_ == {"noveltydetector__detector": "knn(k=3)"}
    assert near > 0.85 > far


def test_parameters_are_set_and_cloned():
    x, _ = world()
    novelty = NoveltyDetector(Mahalanobis()).fit(x)
    other = clone(novelty).set_params(detector="knn(k=2)", alpha=0.1)
    assert not hasattr(other, "detector_")
    assert other.get_params() == {"detector": "knn(k=2)", "alpha": 0.1, "calibration": 0.2, "random_state": 0}
    assert isinstance(other.fit(x).detector_, KNN)
    assert repr(clone(novelty)) == (
        "NoveltyDetector(detector=Mahalanobis(floor=1e-06, on='features', covariance='pooled'))"
    )


@pytest.mark.parametrize("text", ["knn(k=3)", "ridge >> energy"])
def test_joblib_keeps_every_bit(text, tmp_path):
    x, labels = world()
    novelty = NoveltyDetector(create(text)).fit(x, labels)
    joblib.dump(novelty, tmp_path / "novelty.joblib")
    back = joblib.load(tmp_path / "novelty.joblib")
    np.testing.assert_array_equal(back.decision_function(x), novelty.decision_function(x))
    assert back.alpha_ == novelty.alpha_
    np.testing.assert_array_equal(back.fit(x, labels).score_samples(x), novelty.score_samples(x))


def test_a_copy_of_the_detector_is_fitted():
    x, _ = world()
    fresh, fitted = KNN(k=3), KNN(k=3).fit(x[:50])
    before = copy.deepcopy(fitted.state_dict())
    for given in (fresh, fitted):
        novelty = NoveltyDetector(given).fit(x)
        assert novelty.detector is given
        assert len(novelty.detector_.bank) == 240
    assert not fresh.fitted
    assert all((before[name] == held).all() for name, held in fitted.state_dict().items())


def test_rows_set_aside_follow_the_random_state():
    x, _ = world()

    def offset(random_state):
        return NoveltyDetector("knn(k=1)", random_state=random_state).fit(x).offset_

    before = joblib.hash(np.random.get_state())  # noqa: NPY002 - to see that nothing moves it
    assert offset(0) == offset(0) != offset(1)
    assert offset(np.random.RandomState(0)) == offset(np.random.RandomState(0))
    assert len({offset(None) for _ in range(4)}) > 1
    drawn = np.random.RandomState(0)
    assert offset(drawn) != offset(drawn)
    assert joblib.hash(np.random.get_state()) == before  # noqa: NPY002


# Errors


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"alpha": 0}, WrongUse, r"alpha=0: give the share .* in \(0, 1\)"),
        ({"alpha": "few"}, WrongUse, "alpha='few': give the share"),
        ({"alpha": float("nan")}, WrongUse, "alpha=nan: give the share"),
        ({"calibration": 1}, WrongUse, "calibration=1: give the share of rows to set aside"),
        ({"calibration": -0.1}, WrongUse, "calibration=-0.1: give the share of rows to set aside"),
        ({"random_state": -1}, WrongUse, "random_state=-1: give a number from 0"),
        ({"random_state": "a"}, WrongUse, "random_state='a': give a number from 0"),
        ({"detector": "knm"}, WrongUse, "no detector, step or head is called 'knm': did you mean 'knn'"),
        ({"detector": "ridge"}, WrongUse, "'ridge' is not a detector: give one, or text such as 'knn"),
        ({"detector": KNN}, WrongUse, "KNN'> is not a detector"),
        ({"detector": "energy"}, WrongUse, "energy reads logits, there is only features; .* ridge >> energy"),
        (
            {"detector": "ridge >> energy"},
            WrongUse,
            "ridge >> energy requires y to be passed, but the target y is None",
        ),
        (
            {"detector": "knn(k=250)"},
            NotEnoughKnown,
            r"at least 250 known inputs, got 240: .* \(60 of the 300 rows are set aside\)",
        ),
    ],
)
def test_errors_say_what_to_do(arguments, kind, message):
    with pytest.raises(kind, match=message) as caught:
        NoveltyDetector(**arguments).fit(world()[0])
    assert "\n" not in str(caught.value)


def test_errors_of_rows_and_labels():
    x, labels = world()
    broken = x.copy()
    broken[17, 2] = np.nan
    for ask in (NoveltyDetector().fit, NoveltyDetector().fit(x).predict):
        with pytest.raises(BadInput, match="features row 17: 1 of 6 values are NaN or infinite"):
            ask(broken)
    marked = np.where(np.arange(300) == 7, -1, 1)
    for text, ways in (("mahalanobis", "marked as outliers, or fit without y$"), ("ridge >> msp", "as outliers$")):
        with pytest.raises(BadInput, match=f"^y of row 7 is -1: y holds the classes .*{ways}"):
            NoveltyDetector(text).fit(x, marked)
    with pytest.raises(BadInput, match="300 inputs came with 299 labels"):
        NoveltyDetector().fit(x, labels[1:])
    with pytest.raises(NotFittedError):
        NoveltyDetector().predict(x)


def test_a_detector_that_needs_unknown_rows_says_so():
    with pytest.raises(WrongUse, match="binary_discriminator learns from unknown inputs too and none were given"):
        NoveltyDetector("binary_discriminator").fit(np.random.default_rng(0).normal(size=(60, 3)))
