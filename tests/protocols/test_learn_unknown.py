"""Unknown inputs to learn from, all the way: the bench with and without, the guard, the commands."""

import json
from pathlib import Path

import numpy as np
import pytest

import unseen as library
from unseen import OpenSetClassifier, create
from unseen.data import split
from unseen.errors import BadInput, WrongUse
from unseen.protocols import Sources, audit, bench
from unseen.signals import Signals, Support

CENTRES = 2.5 * np.random.default_rng(7).normal(size=(6, 8))
TOLD = "binary_discriminator"
WHOLE = (TOLD, "weighted_energy", "opengan", "grood(prototype='unknown')")


def drawn(n, centres, seed):
    labels = np.arange(n) % len(centres)
    x = np.asarray(centres)[labels] + np.random.default_rng(seed).normal(size=(n, 8))
    return {"features": x.astype("float32"), "labels": labels}


def support(n, centres, seed):
    rows = drawn(n, centres, seed)
    return Support(
        Signals({"features": rows["features"]}),
        labels=rows["labels"],
        classes=tuple(f"c{i}" for i in range(len(centres))),
        encoder="test:1",
    )


KNOWN, LEARNT = drawn(160, CENTRES[:4], 0), drawn(60, CENTRES[4:5], 1)
NEAR, FAR = drawn(50, CENTRES[5:], 2), {"features": drawn(50, CENTRES[:1] + 20, 3)["features"]}


def of(rows, **more):
    return Support(Signals({"features": rows["features"]}), encoder="test:1", **more)


def sources(**more):
    return Sources(support(160, CENTRES[:4], 0), near={"new": of(NEAR)}, far={"noise": of(FAR)}, **more)


# The bench


def test_without_unknown_inputs_such_detectors_are_not_tried():
    found = bench(sources(), detectors=["knn", *WHOLE])
    assert {row.name for row in found.rows} == {"knn"}
    assert found.not_tried == dict.fromkeys(WHOLE, "learns from unknown inputs too, and none were given to learn from")


def test_an_audit_has_none():
    found = audit(support(160, CENTRES[:4], 0), detectors=["knn", TOLD], repeats=1)
    assert found.not_tried[TOLD] == "learns from unknown inputs too, and an audit has none"


@pytest.fixture(scope="module")
def found():
    soon = ("opengan(epochs=3, width=4, lr=0.01)", "grood(prototype='unknown')")
    return bench(sources(learnt_unknown=of(LEARNT)), detectors=["knn", "energy", TOLD, "weighted_energy", *soon])


def test_rows_that_learnt_from_them_say_so(found):
    """And no others; what reads logits stands behind each head, as `energy` does."""
    marked = {row.name for row in found.rows if row.uses_unknown}
    plain = {row.name for row in found.rows if not row.uses_unknown}
    heads = {name.removesuffix("energy") for name in plain if name.endswith("energy")}
    assert heads
    assert marked == {
        TOLD, *(f"{head}weighted_energy" for head in heads), "opengan(epochs=3, width=4, lr=0.01)",
        "grood(prototype='unknown')",
    }  # fmt: skip
    assert {"uses_unknown": True}.items() <= next(r for r in found.to_dict()["detectors"] if r["name"] == TOLD).items()
    assert not found.not_tried


def test_the_fit_sees_them_and_none_that_is_tested(found):
    """The row's numbers are those of a fit on the 60 % and on the unknown inputs to learn from alone."""
    whole = support(160, CENTRES[:4], 0)
    fit, test = split(whole.labels, whole.groups, 0.6, 0, rows=160)
    detector = create(TOLD).fit(whole.take(fit), unknown=LEARNT["features"])
    tested = detector.score(whole.take(test).signals)
    for name, rows in (("new", NEAR), ("noise", FAR)):
        scores = detector.score(rows["features"])
        by_hand = (tested[:, None] > scores).mean() + (tested[:, None] == scores).mean() / 2
        assert next(row for row in found.rows if row.name == TOLD).sets[name]["auroc"] == pytest.approx(by_hand)


def test_what_is_tested_is_no_part_of_the_fit(found):
    """Other unknown sets change no number of the first one, and sets that are learnt from do."""

    def numbers(**more):
        return bench(sources(**more), detectors=[TOLD]).rows[0].sets["new"]["auroc"]

    assert numbers(learnt_unknown=of(LEARNT)) == next(r for r in found.rows if r.name == TOLD).sets["new"]["auroc"]
    alone = Sources(support(160, CENTRES[:4], 0), near={"new": of(NEAR)}, learnt_unknown=of(LEARNT))
    assert bench(alone, detectors=[TOLD]).rows[0].sets["new"]["auroc"] == numbers(learnt_unknown=of(LEARNT))
    assert numbers(learnt_unknown=of(NEAR)) > numbers(learnt_unknown=of(LEARNT))


def test_the_others_are_as_they_were(found):
    before = {row.name: row.sets for row in bench(sources(), detectors=["knn", "energy"]).rows}
    after = {row.name: row.sets for row in found.rows if not row.uses_unknown}
    for name, sets in before.items():
        for of_set, numbers in sets.items():
            assert numbers["auroc"] == after[name][of_set]["auroc"]


def test_copies_of_them_are_not_tested():
    """A set shares five rows with what is learnt from, which itself shares four with the known."""
    near = {"features": np.concatenate([NEAR["features"], LEARNT["features"][:5]])}
    learnt = {"features": np.concatenate([LEARNT["features"], KNOWN["features"][:4]])}
    found = library.bench(KNOWN, near={"new": near}, learn_unknown=learnt, detectors=["knn", TOLD])
    assert found.sets["new"]["n_unknown"] == 50
    assert found.left_out == {"near new": 5, "learnt unknown": 4}
    plain = library.bench(KNOWN, near={"new": NEAR}, learn_unknown=LEARNT, detectors=["knn", TOLD])
    for one in (TOLD, "knn"):
        rows = [next(row for row in which.rows if row.name == one) for which in (found, plain)]
        assert rows[0].sets["new"]["auroc"] == rows[1].sets["new"]["auroc"]
    with pytest.raises(BadInput, match=r"near new .*: all 60 inputs are exact copies"):
        library.bench(KNOWN, near={"new": LEARNT}, learn_unknown=LEARNT, detectors=["knn"])


# The guard


@pytest.mark.parametrize("detector", [TOLD, "ridge >> weighted_energy", "opengan(epochs=3, width=4, lr=0.01)"])
def test_a_guard_is_fitted_saved_and_loaded(tmp_path, detector):
    guard = OpenSetClassifier("arrays", detector).fit(KNOWN, unknown=LEARNT)
    assert guard.about["n_unknown_learnt"] == 60
    guard.save(tmp_path / "guard.unseen")
    loaded = library.load(tmp_path / "guard.unseen")
    asked = np.concatenate([drawn(30, CENTRES[:4], 9)["features"], LEARNT["features"][:30]])
    here, there = guard.predict({"features": asked}), loaded.predict({"features": asked})
    np.testing.assert_array_equal(there.familiarity, here.familiarity)
    assert there.unseen[30:].mean() > 0.5 > there.unseen[:30].mean()
    assert loaded.about["n_unknown_learnt"] == 60


def test_what_was_set_aside_is_not_learnt():
    """The detector is that of a fit on the other rows, and the calibration scores are its scores of these."""
    guard = OpenSetClassifier("arrays", TOLD).fit(KNOWN, unknown=LEARNT)
    rest, aside = guard.set_aside(support(160, CENTRES[:4], 0))
    detector = create(TOLD).fit(KNOWN["features"][rest], unknown=LEARNT["features"])
    np.testing.assert_array_equal(guard.detector.weight, detector.weight)
    scores = np.sort(detector.score(KNOWN["features"][aside]))
    np.testing.assert_array_equal(np.sort(np.asarray(guard.calibrator.scores)), scores)


def test_a_guard_that_learnt_from_unknown_inputs_is_not_extended():
    guard = library.fit(KNOWN, "arrays", TOLD, learn_unknown=LEARNT).classifier
    with pytest.raises(WrongUse, match=r"^binary_discriminator also learnt from unknown inputs, .*: fit again$"):
        guard.extend(drawn(20, CENTRES[5:], 4), KNOWN)


def test_copies_of_known_inputs_are_not_learnt_as_unknown():
    both = {"features": np.concatenate([LEARNT["features"], KNOWN["features"][:7]])}
    mixed, plain = (library.fit(KNOWN, "arrays", TOLD, learn_unknown=x).classifier for x in (both, LEARNT))
    np.testing.assert_array_equal(mixed.detector.weight, plain.detector.weight)
    with pytest.raises(BadInput, match=r"learnt unknown .*: all 160 inputs are exact copies of known ones"):
        library.fit(KNOWN, "arrays", TOLD, learn_unknown=KNOWN)


def test_unknown_inputs_that_nobody_reads_are_refused():
    with pytest.raises(WrongUse, match=r"^knn learns from known inputs alone: leave the unknown ones out"):
        library.fit(KNOWN, "arrays", "knn", learn_unknown=LEARNT)
    with pytest.raises(WrongUse, match=r"^what an audit chooses learns from known inputs alone"):
        library.fit(KNOWN, "arrays", learn_unknown=LEARNT)
    with pytest.raises(WrongUse, match=r"^binary_discriminator learns from unknown inputs too and none were given"):
        library.fit(KNOWN, "arrays", TOLD)


# The commands


@pytest.fixture
def files(tmp_path):
    for name, rows in {"known": KNOWN, "learnt": LEARNT, "near": NEAR, "more": drawn(20, CENTRES[5:], 4)}.items():
        np.savez(tmp_path / f"{name}.npz", **rows)


def test_bench_command(unseen, files):
    words = (
        "bench",
        "--known",
        "known.npz",
        "--near",
        "new=near.npz",
        "--detectors",
        f"knn, {TOLD}",
        "--json",
        "b.json",
    )
    code, out, err = unseen(*words, "--learn-unknown", "learnt.npz")
    assert (code, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(Path("b.json").read_text())["detectors"]}
    assert {name: row["uses_unknown"] for name, row in rows.items()} == {"knn": False, TOLD: True}
    assert rows[TOLD]["sets"]["new"]["n_unknown"] == 50
    marked = [line for line in out.splitlines() if "(saw unknown)" in line]
    assert len(marked) >= 1
    code, out, err = unseen(*words)
    assert (code, err) == (0, "")
    found = json.loads(Path("b.json").read_text())
    assert [row["name"] for row in found["detectors"]] == ["knn"]
    assert "none were given to learn from" in found["not_tried"][TOLD]
    assert "(saw unknown)" not in out


def test_fit_score_and_extend_commands(unseen, files):
    code, _, err = unseen("fit", "known.npz", "-d", TOLD, "--learn-unknown", "learnt.npz", "-o", "guard.unseen")
    assert (code, err) == (0, "")
    code, _, err = unseen("score", "guard.unseen", "near.npz", "--json", "scores.json")
    assert (code, err) == (0, "")
    assert json.loads(Path("scores.json").read_text())["n"] == 50
    code, _, err = unseen("extend", "guard.unseen", "more.npz", "-o", "wider.unseen")
    assert code != 0
    assert err.startswith("unseen: binary_discriminator also learnt from unknown inputs")
    assert err.count("\n") == 1
    assert not Path("wider.unseen").exists()
    code, _, err = unseen("fit", "known.npz", "-d", "knn", "--learn-unknown", "learnt.npz", "-o", "other.unseen")
    assert code != 0
    assert err.startswith("unseen: knn learns from known inputs alone")
    assert not Path("other.unseen").exists()
