"""Known defects of this kind of software, one at a time: the suite must catch each, by the check that is named.

Several shipped in released libraries: a detector that was never trained, a covariance that made Mahalanobis guess, an
argument that changed nothing, scores that depend on their batch.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from unseen.calibration import SplitConformal
from unseen.checks import CheckFailed, check_detector, checks_for
from unseen.checks._suite import Check
from unseen.checks.detectors import scores_are_those_of_the_oracle
from unseen.detectors.base import Detector, Shaper
from unseen.detectors.energy import Energy
from unseen.detectors.gen import GEN
from unseen.detectors.knn import KNN
from unseen.detectors.mahalanobis import Mahalanobis
from unseen.detectors.maxlogit import MaxLogit
from unseen.detectors.nearest_prototype import NearestPrototype
from unseen.detectors.react import ReAct
from unseen.encoders.torch import Torch
from unseen.heads.prototypes import Prototypes
from unseen.heads.ridge import Ridge
from unseen.signals import Support
from unseen.statistics import Moments

from .test_contract import oracle

MUTANTS = []


def caught_by(*names):
    """The checks that must fail; the first of them is asked."""

    def put(kind):
        MUTANTS.extend(pytest.param(kind, name, id=f"{kind.__name__}-{name}") for name in names)
        return kind

    return put


# --- what is said -----------------------------------------------------------------------------------------------------


@caught_by("far_inputs_score_lower")
class SignTurned(Mahalanobis):
    def forward(self, signals):
        return -super().forward(signals)


@caught_by("scores_vary", "far_inputs_score_lower")
class OneScoreForAll(Energy):
    def forward(self, signals):
        return torch.zeros_like(super().forward(signals))


@caught_by("scores_vary")
class Rounded(Energy):
    def forward(self, signals):
        return super().forward(signals).round()


@caught_by("confident_inputs_do_not_tie")
class Saturated(Energy):
    def forward(self, signals):
        return (signals["logits"] / self.temperature).softmax(dim=1).amax(dim=1)


@caught_by("confident_inputs_do_not_tie")
class SaturatedLogarithm(Energy):
    def forward(self, signals):
        return (signals["logits"] / self.temperature).log_softmax(dim=1).amax(dim=1)


@caught_by("large_inputs_stay_finite")
class Overflowing(Energy):
    def forward(self, signals):
        return self.temperature * (signals["logits"] / self.temperature).exp().sum(dim=1).log()


@caught_by("arrays_in_arrays_out")
class AColumnOfScores(Energy):
    def forward(self, signals):
        return super().forward(signals)[:, None]


@caught_by("arrays_in_arrays_out")
class AlwaysDouble(Energy):
    def forward(self, signals):
        return super().forward(signals).double()


@caught_by("precisions_agree")
class HalvesSinglePrecision(Mahalanobis):
    def forward(self, signals):
        x = signals["features"]
        return super().forward({"features": x.half().float() if x.dtype == torch.float32 else x})


@caught_by("one_class_is_learnt_or_refused")
class DividedByTheOtherClasses(NearestPrototype):
    def forward(self, signals):
        return super().forward(signals) / (len(self.prototypes) - 1)


# --- what is learnt ---------------------------------------------------------------------------------------------------


@caught_by("fitting_has_an_effect")
class NeverTrained(KNN):
    def learn(self, support):
        generator = torch.Generator().manual_seed(0)
        width = support.signals.width("features")
        bank = torch.rand(100, width, generator=generator).to(support.dtype("features"))
        bank[:, 18:] = 0
        self.bank = normalize(bank)


@caught_by("traits_are_true")
class ForgotToLearn(Detector):
    needs = frozenset({"features"})

    def forward(self, signals):
        return signals["features"].norm(dim=1)


@caught_by("traits_are_true")
class SaysThatItIsStateless(Mahalanobis):
    traits = frozenset({"stateless"})


@caught_by("unknown_inputs_matter_as_declared")
class AsksForUnknownInputsInVain(Mahalanobis):
    traits = frozenset({"uses_unknown"})


@caught_by("texts_matter_as_declared")
class SaysItReadsTexts(NearestPrototype):
    traits = frozenset({"text_bank"})


@caught_by("texts_matter_as_declared")
class ReadsTextsUnasked(NearestPrototype):
    def learn(self, support):
        super().learn(support)
        if support.text is not None:
            self.prototypes = self.prototypes + 0.1 * support.text.positive.mean()


@caught_by("unknown_inputs_matter_as_declared")
class LearnsFromUnknownInputsUnasked(NearestPrototype):
    def learn(self, support):
        super().learn(support)
        if support.unknown is not None:
            self.prototypes = self.prototypes - 0.1 * support.unknown.gather("features").mean(dim=0)


@caught_by("streamed_fitting_equals_one_pass")
class FirstBatchOnly(KNN):
    def learn(self, support):
        super().learn(support)
        self.bank = normalize(next(support.batches("features"))["features"])


@caught_by("streamed_fitting_equals_one_pass")
class MeanOfTheBatchMeans(NearestPrototype):
    def learn(self, support):
        super().learn(support)
        self.origin = torch.stack([batch["features"].mean(dim=0) for batch in support.batches("features")]).mean(dim=0)


@caught_by("fitting_again_forgets")
class KeepsTheFirstFit(KNN):
    def learn(self, support):
        before = self.bank
        super().learn(support)
        self.bank = torch.cat([before, self.bank]) if len(before) else self.bank


@caught_by("the_order_of_known_inputs_does_not_matter")
class LabelsShuffled(Mahalanobis):
    def learn(self, support):
        order = np.random.default_rng(0).permutation(len(support))
        super().learn(Support(support.signals, labels=support.labels[order], classes=support.classes))


@caught_by("the_same_every_time")
class LabelsShuffledAnew(Mahalanobis):
    def learn(self, support):
        order = np.random.permutation(len(support))  # noqa: NPY002 - the defect
        super().learn(Support(support.signals, labels=support.labels[order], classes=support.classes))


@caught_by("labels_matter_as_declared")
class ReadsLabelsInSecret(Mahalanobis):
    labels = "ignored"


@caught_by("labels_matter_as_declared")
class IgnoresItsLabels(NearestPrototype):
    def learn(self, support):
        super().learn(Support(support.signals))


@caught_by("little_data_is_learnt_or_refused")
class SingularCovariance(Mahalanobis):
    def learn(self, support):
        super().learn(support)
        covariance = support.moments("features").covariance()
        self.whiten = torch.linalg.inv(torch.linalg.cholesky(covariance)).T.to(self.means)


# --- what must not matter ---------------------------------------------------------------------------------------------


@caught_by("scores_do_not_depend_on_their_batch")
class BatchMeanSubtracted(Energy):
    def forward(self, signals):
        scores = super().forward(signals)
        return scores - scores.mean()


@caught_by("scores_do_not_depend_on_their_batch")
class StandardisedByItsBatch(KNN):
    def forward(self, signals):
        x = signals["features"]
        return super().forward({"features": x / x.abs().amax(dim=0, keepdim=True).clamp_min(1e-6)})


@caught_by("the_same_every_time")
class RandomNoise(Energy):
    def forward(self, signals):
        scores = super().forward(signals)
        return scores + 1e-3 * torch.randn_like(scores)


@caught_by("nothing_is_written_to", "the_same_every_time")
class LearnsWhileItScores(Mahalanobis):
    def forward(self, signals):
        self.origin = self.origin + 1e-3 * signals["features"].mean(dim=0)
        return super().forward(signals)


@caught_by("nothing_is_written_to")
class WritesToItsInput(Energy):
    def forward(self, signals):
        return super().forward({"logits": signals["logits"].sub_(signals["logits"].mean(dim=1, keepdim=True))})


@caught_by("every_argument_has_an_effect")
class ArgumentIgnored(Energy):
    def forward(self, signals):
        return signals["logits"].logsumexp(dim=1)


@caught_by("every_argument_has_an_effect")
class StepArgumentIgnored(ReAct):
    def learn(self, support):
        super().learn(support)
        self.limit = torch.full_like(self.limit, 3.0)


@caught_by("arguments_are_kept_as_given")
class ArgumentChanged(KNN):
    def __init__(self, k=50):
        super().__init__(k)
        self.k = k + 1


# --- what must be said ------------------------------------------------------------------------------------------------


@caught_by("not_a_number_is_named")
class NaNSwallowed(Energy):
    def score(self, signals):
        return super().score({name: np.nan_to_num(np.asarray(x)) for name, x in signals.items()})


@caught_by("unfitted_is_named")
class AsksNobodyWhetherItIsFitted(KNN):
    def check_ready(self, signals):
        pass


@caught_by("another_width_is_named")
class PadsWhatIsMissing(KNN):
    def check_ready(self, signals):
        if not self.fitted:
            super().check_ready(signals)

    def forward(self, signals):
        x = signals["features"]
        return super().forward({"features": nn.functional.pad(x, (0, self.bank.shape[1] - x.shape[1]))})


@caught_by("a_missing_signal_is_named")
class TakesAnySignal(KNN):
    def score(self, signals):
        return super().score(next(iter(signals.values())))


@caught_by("labels_of_every_kind")
class NegativeLabelsTaken(Mahalanobis):
    def fit(self, known, labels=None, *, head=None):
        bare = isinstance(labels, np.ndarray) and labels.dtype.kind == "i"
        return super().fit(known, np.abs(labels) if bare else labels, head=head)


# --- to a file --------------------------------------------------------------------------------------------------------


@caught_by("saved_state_answers_with_the_same_bits")
class KeptOutsideTheState(KNN):
    def learn(self, support):
        super().learn(support)
        self.aside, self.bank = self.bank, torch.zeros_like(self.bank)

    def forward(self, signals):
        found = KNN.forward(self, signals) * 0
        return found - (normalize(signals["features"]) @ self.aside.T).neg().topk(self.k, dim=1).values[:, -1].abs()


@caught_by("exports_with_any_batch")
class BranchesOnData(Energy):
    def forward(self, signals):
        scores = super().forward(signals)
        return scores if bool(scores.mean() > -1e9) else -scores


@caught_by("exports_with_any_batch")
class LoopsOverRows(Energy):
    def forward(self, signals):
        return torch.stack([row.logsumexp(dim=0) for row in signals["logits"]]) * self.temperature


@caught_by("onnx_runtime_agrees")
class NoSuchOperator(KNN):
    def forward(self, signals):
        similarity = normalize(signals["features"]) @ self.bank.T
        return similarity.kthvalue(similarity.shape[1] - self.k + 1, dim=1).values


@pytest.mark.parametrize(("kind", "name"), MUTANTS)
def test_the_mutant_is_caught(kind, name):
    part = kind(k=7) if issubclass(kind, KNN) and kind is not ArgumentChanged else kind()
    check = next(check for check in checks_for(part) if check.name == name)
    assert check.excuse(part) is None
    with pytest.raises(CheckFailed, match=name):
        check(part)


def test_there_are_many():
    assert len({param.values[0] for param in MUTANTS}) > 35


def test_every_check_of_detectors_catches_some_mutant():
    """A check that no defect can break proves nothing."""
    caught = {param.values[1] for param in MUTANTS}
    also = {"merged_statistics_equal_one_pass", "a_read_only_memory_map_serves", "no_rows"}  # below
    assert {check.name for check in checks_for(Energy())} == caught | also


# --- those that need more than a class --------------------------------------------------------------------------------


def test_moments_that_lose_the_spread_between_parts_are_caught(monkeypatch):
    def added(a, b):
        count = a.count + b.count
        mean = (a.mean * a.count[:, None] + b.mean * b.count[:, None]) / count.clamp_min(1)[:, None]
        return Moments(count, mean, a.within + b.within)

    monkeypatch.setattr(Moments, "__add__", added)
    check = next(check for check in checks_for(Mahalanobis()) if check.name == "merged_statistics_equal_one_pass")
    with pytest.raises(CheckFailed, match="from merged moments"):
        check(Mahalanobis())


def test_a_memory_map_that_is_read_wrongly_is_caught():
    class ReadsNoMaps(KNN):
        def learn(self, support):
            super().learn(support)
            if isinstance(support.signals._columns["features"], np.memmap):
                self.bank = self.bank.flip(1)

    check = next(check for check in checks_for(KNN()) if check.name == "a_read_only_memory_map_serves")
    with pytest.raises(CheckFailed, match="memory map"):
        check(ReadsNoMaps(k=7))


def test_a_detector_that_stumbles_over_no_rows_is_caught():
    class NeedsARow(Energy):
        def score(self, signals):
            scores = super().score(signals)
            assert scores.max() > -1e9
            return scores

    check = next(check for check in checks_for(Energy()) if check.name == "no_rows")
    with pytest.raises(CheckFailed, match="no_rows"):
        check(NeedsARow())


class RawCovariance(Mahalanobis):
    """Around zero, not around the class means: on clusters far from zero it guesses."""

    def learn(self, support):
        x = support.gather("features").double()
        moments = Moments(support.moments("features").count, support.moments("features").mean, (x.T @ x) * 1.0)
        changed = Support(support.signals, labels=support.labels, classes=support.classes)
        changed._moments["features"] = moments
        super().learn(changed)


class HalfPrecisionInside(Mahalanobis):
    def forward(self, signals):
        return super().forward({"features": signals["features"].half().to(self.means)})


class SquaredDistance(KNN):
    def forward(self, signals):
        return -super().forward(signals).square()


class NaturalCutoff(GEN):
    """The mean in place of the sum, over all classes."""

    def forward(self, signals):
        return super().forward(signals) / signals["logits"].shape[1]


class OneNeighbourFurther(KNN):
    def forward(self, signals):
        self_k, self.k = self.k, self.k + 1
        try:
            return super().forward(signals)
        finally:
            self.k = self_k


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (RawCovariance(), "mahalanobis"),
        (HalfPrecisionInside(), "mahalanobis"),
        (SquaredDistance(k=7), "knn"),
        (OneNeighbourFurther(k=7), "knn"),
        (NaturalCutoff(), "gen"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_wrong_numbers_are_caught_by_the_oracle(part, name):
    golden = Check("golden_values", "", lambda p: scores_are_those_of_the_oracle(p, oracle(name)))
    with pytest.raises(CheckFailed, match="against the oracle"):
        golden(part)
    with pytest.raises(CheckFailed, match="golden_values"):
        check_detector(part, oracle(name))


# --- other kinds of parts ---------------------------------------------------------------------------------------------


class ColumnsTurnedRound(Ridge):
    def solve(self, support):
        weight, bias = super().solve(support)
        return weight.flip(0), bias.flip(0)


class FromTheGlobalGenerator(Prototypes):
    def solve(self, support):
        weight, bias = super().solve(support)
        return weight + 1e-3 * torch.randn_like(weight), bias


class NoClassIsTakenAway(Ridge):
    def learn(self, support):
        fresh = Support(support.signals, labels=support.labels, classes=support.classes)
        super().learn(fresh)
        self.bias = self.bias + 1e-3 * len(support._moments)


class NoPlusOne(SplitConformal):
    def p_value(self, scores):
        n = len(self.scores)
        return self._like(scores, (super().p_value(np.asarray(scores)) * (n + 1) - 1) / n)

    @staticmethod
    def _like(given, values):
        if isinstance(given, torch.Tensor):
            return torch.tensor(values)
        return values.tolist() if isinstance(given, list) else values


class StrictAtTies(SplitConformal):
    def p_value(self, scores):
        values = torch.as_tensor(np.asarray(scores))
        n = len(self.scores)
        return ((1 + torch.bucketize(values.double(), self.scores.double(), right=False)) / (n + 1)).numpy()


class SortsInPlace(SplitConformal):
    def fit(self, scores):
        scores.sort()
        return super().fit(scores)


class Uncalibrated(SplitConformal):
    """Scores of a normal taken for its own quantiles: no promise at all."""

    def p_value(self, scores):
        return np.clip(super().p_value(scores) * 0.5, 1e-9, 1)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (ColumnsTurnedRound(), "the_largest_logit_names_the_class"),
        (FromTheGlobalGenerator(), "the_same_every_time"),
        (NoClassIsTakenAway(), "a_class_taken_away_was_never_there"),
        (NoPlusOne(), "p_values_are_shares"),
        (StrictAtTies(), "the_promise_holds_for_every_rank"),
        (SortsInPlace(), "nothing_is_written_to"),
        (Uncalibrated(), "the_promise_holds_on_average"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_mutants_of_heads_and_calibrators(part, name):
    check = next(check for check in checks_for(part) if check.name == name)
    with pytest.raises(CheckFailed, match=name):
        check(part)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
        )


class BatchNormInTraining(Torch):
    def answer(self, batch, wanted):
        self._module.train()
        return super().answer(batch, wanted)


class AnotherHead(Torch):
    def answer(self, batch, wanted):
        found = super().answer(batch, wanted)
        return found if "logits" not in found else found | {"logits": found["logits"].flip(1)}


class LastRowFirst(Torch):
    def prepare(self, image):
        made = super().prepare(image)
        image[:] = 0
        return made


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BatchNormInTraining, "neighbours_do_not_matter"),
        (AnotherHead, "the_head_makes_the_logits"),
        (LastRowFirst, "any_picture_becomes_one_shape"),
    ],
)
def test_mutants_of_encoders(kind, name):
    encoder = kind(network(), size=16)
    check = next(check for check in checks_for(encoder) if check.name == name)
    with pytest.raises(CheckFailed, match=name):
        check(encoder)


def test_a_shaper_of_the_wrong_sign_is_caught():
    class Floor(Shaper):
        """Keeps what ReAct cuts off."""

        def __init__(self):
            super().__init__()
            self.register_buffer("limit", torch.empty(0))

        def learn(self, support):
            self.limit = support.gather("features").max() + 0.5

        def forward(self, signals):
            return {"features": self.limit - signals["features"]}

    check = next(check for check in checks_for(Floor()) if check.name == "far_inputs_score_lower")
    with pytest.raises(CheckFailed, match="far_inputs_score_lower"):
        check(Floor())


def test_an_unharmed_part_passes_the_checks_that_catch_its_mutants():
    for part in (KNN(k=7), Energy(), Mahalanobis(), MaxLogit()):
        for check in checks_for(part):
            if check.name != "onnx_runtime_agrees" and not check.excuse(part):
                check(part)
