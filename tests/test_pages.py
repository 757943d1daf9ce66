"""What is composed into a page is what was found, and a browser shows it at the width of a phone and of a desk."""

import base64
import csv
import functools
import html
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import unseen as library
from unseen.api.pages import BORDER, NOVEL, audit_page, bench_page, known_inputs, score_page
from unseen.classifier import set_aside
from unseen.data import open_inputs
from unseen.encoders import encode
from unseen.errors import BadInput
from unseen.metrics import evaluate
from unseen.protocols import Sources
from unseen.protocols import bench as run_bench
from unseen.report import render, thumbnail
from unseen.signals import Signals, Support

PIXELS = "pixels?size=8"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def guard(digits, cache):
    return library.fit(digits / "known", PIXELS, "knn(k=1)", cache=cache).classifier


@pytest.fixture(scope="module")
def verdicts(guard, digits):
    return library.score(guard, digits / "new")


@pytest.fixture(scope="module")
def scored(guard, verdicts, digits, cache):
    return score_page(verdicts, guard, digits / "new", cache=cache, command="unseen score guard.unseen new/")


@pytest.fixture(scope="module")
def audited(digits, cache):
    return library.audit(digits / "known", PIXELS, detectors=["knn", "msp"], repeats=1, cache=cache)


@pytest.fixture(scope="module")
def benched():
    """Two near sets and a far one, with file sizes as the baseline that no network needs."""
    random = np.random.default_rng(0)

    def made(shift, n=60, width=4):
        return Support.of(Signals({"features": random.normal(shift, 1, (n, width))}))

    sets = {"near": {"leaves & <bark>": made(1), "ferns": made(2)}, "far": {"noise": made(6, 30)}}
    sizes = {"near": {"leaves & <bark>": made(0, width=1), "ferns": made(3, width=1)}, "far": {"noise": made(1, 30, 1)}}
    baseline = Sources(made(0, 90, 1), **sizes)
    return run_bench(
        Sources(made(0, 90), **sets), detectors=["knn(k=3)", "mahalanobis"], baselines={"file size": baseline}
    )


# Verdicts


def test_beside_an_input_stands_the_nearest_of_those_that_were_learnt(scored, guard, digits):
    known = encode(open_inputs(digits / "known"), guard.encoder, cache=False)
    rows, aside = set_aside(known, guard.calibration, guard.seed)
    features = dict(zip(known.keys, known.gather("features").double().numpy(), strict=True))
    new = encode(open_inputs(digits / "new"), guard.encoder, cache=False)
    asked = dict(zip(new.keys, new.gather("features").double().numpy(), strict=True))
    learnt = [known.keys[row] for row in rows]
    bank = np.stack([features[key] / np.linalg.norm(features[key]) for key in learnt])
    assert len(scored["score"]["thumbnails"]) == 24
    for picture in scored["score"]["thumbnails"]:
        query = asked[picture["path"]] / np.linalg.norm(asked[picture["path"]])
        cosine = bank @ query
        assert picture["beside"]["path"] == learnt[int(cosine.argmax())]
        assert picture["beside"]["similarity"] == pytest.approx(cosine.max(), abs=1e-9)
        assert picture["beside"]["label"] == picture["beside"]["path"].split("/")[0]
        assert picture["beside"]["image"] != picture["image"]
    assert "the 240 inputs that the guard was fitted on" in scored["score"]["beside"]
    assert not {known.keys[row] for row in aside} & {p["beside"]["path"] for p in scored["score"]["thumbnails"]}


def test_the_most_novel_and_both_sides_of_the_verdict_are_looked_at(scored, verdicts):
    pictures = scored["score"]["thumbnails"]
    assert len({picture["path"] for picture in pictures}) == len(pictures)
    p = dict(zip(verdicts.keys, verdicts.p_value, strict=True))
    novel = [picture["p_value"] for picture in pictures if picture["kind"] == NOVEL]
    assert novel == sorted(p.values())[: len(novel)]
    border = [picture for picture in pictures if picture["kind"] == BORDER]
    stopped = [one["p_value"] for one in border if one["verdict"] == "unseen"]
    passed = [one["p_value"] for one in border if one["verdict"] == "known"]
    assert len(stopped) == len(passed) == 6
    assert max(stopped) == max(p[k] for k, u in zip(verdicts.keys, verdicts.unseen, strict=True) if u)
    assert min(passed) == min(p[k] for k, u in zip(verdicts.keys, verdicts.unseen, strict=True) if not u)


def test_the_most_novel_rows_of_the_table_name_their_neighbour(scored, tmp_path):
    text = render(scored, tmp_path / "page.html").read_text(encoding="utf-8")
    rows = sorted(scored["score"]["records"], key=lambda row: (row["p_value"], row["familiarity"]))[:50]
    assert all("nearest_known" in row for row in rows)
    assert text.count("Nearest known input</th>") == 1


def test_other_known_inputs_than_at_the_fit_are_taken_and_said(guard, verdicts, digits, tmp_path):
    shutil.copytree(digits / "known" / "zero", tmp_path / "known" / "zero")
    page = score_page(verdicts, guard, digits / "new", tmp_path / "known", cache=False)
    assert "these 60 known inputs, which are not the same as at the fit" in page["score"]["beside"]
    assert {picture["beside"]["label"] for picture in page["score"]["thumbnails"]} == {"zero"}


def test_known_inputs_of_a_fit_with_a_limit_and_of_an_older_guard_are_found(digits, cache):
    limited = library.fit(digits / "known", PIXELS, "knn(k=1)", cache=cache, limit=200).classifier
    verdicts = library.score(limited, digits / "new")
    page = score_page(verdicts, limited, digits / "new", cache=cache)
    assert "the 160 inputs that the guard was fitted on" in page["score"]["beside"]
    whole = library.fit(digits / "known", PIXELS, "knn(k=1)", cache=cache).classifier
    del whole.about["learnt"]  # as an earlier version saved it
    page = score_page(library.score(whole, digits / "new"), whole, digits / "new", cache=cache)
    assert "the 240 inputs that the guard was fitted on" in page["score"]["beside"]


def test_an_extended_guard_is_shown_beside_all_that_it_learnt_from(digits, cache, tmp_path):
    """Both sources have files of the same names: each neighbour is drawn from its own."""
    for name, folder in (("zero", "a"), ("one", "a"), ("two", "b"), ("three", "b")):
        for i, file in enumerate(sorted((digits / "known" / name).iterdir())):
            target = tmp_path / folder / ("x" if name in ("zero", "two") else "y") / f"{i:02d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    first = library.fit(tmp_path / "a", PIXELS, "knn(k=1)", alpha=0.1, cache=cache).classifier
    wider = library.extend(first, tmp_path / "b", cache=cache).classifier
    verdicts = library.score(wider, digits / "new")
    page = score_page(verdicts, wider, digits / "new", cache=cache)
    assert f"the {wider.about['n_fit']:,} inputs that the guard was fitted on" in page["score"]["beside"]
    bank, images = [], []
    for folder in ("a", "b"):
        listed = open_inputs(tmp_path / folder)
        known = encode(listed, PIXELS, cache=False)
        rows = set_aside(known, wider.calibration, wider.seed)[0]
        bank.append(unit(known.gather("features").double().numpy()[rows]))
        images += [(folder, thumbnail(listed.read(row))) for row in rows.tolist()]
    new = open_inputs(digits / "new")
    used = set()
    for picture in page["score"]["thumbnails"]:
        one = encode(new.take([new.keys.index(picture["path"])]), PIXELS, cache=False)
        cosine = np.concatenate(bank) @ unit(one.gather("features").double().numpy())[0]
        folder, image = images[int(cosine.argmax())]
        assert picture["beside"]["image"] == image
        used.add(folder)
    assert used == {"a", "b"}
    again = score_page(verdicts, wider, digits / "new", (tmp_path / "a", tmp_path / "b"), cache=cache)
    assert again["score"] == page["score"]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_without_known_inputs_the_nearest_class_alone_is_named_and_why(guard, verdicts, digits, monkeypatch, tmp_path):
    for recorded, why in (("gone/known", "gone/known, are not there any more"), ("", "does not say where")):
        monkeypatch.setattr(guard, "about", guard.about | {"source": recorded, "learnt": [{"source": recorded}]})
        assert known_inputs(guard) == ()
        page = score_page(verdicts, guard, digits / "new")
        assert why in page["score"]["beside"]
        assert "--known" in page["score"]["beside"]
        assert not any("beside" in picture for picture in page["score"]["thumbnails"])
        assert not any("nearest_known" in row for row in page["score"]["records"])
    text = render(page, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "looks like" in text
    assert "Nearest known input" not in text


def test_known_inputs_that_cannot_be_used_are_refused(guard, tmp_path):
    with pytest.raises(BadInput, match="no such file or folder"):
        known_inputs(guard, tmp_path / "none")
    np.save(tmp_path / "rows.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(BadInput, match=r"holds arrays, the encoder 'pixels' reads images"):
        known_inputs(guard, tmp_path / "rows.npy")
    guard_elsewhere = library.load(guard.save(tmp_path / "g.unseen"))
    guard_elsewhere.about["learnt"][0]["source"] = str(tmp_path / "rows.npy")  # something else stands there today
    assert known_inputs(guard_elsewhere) == ()


def test_without_an_encoder_or_features_nothing_stands_beside(guard, verdicts, digits, monkeypatch):
    monkeypatch.setattr(guard, "encoder", None)
    page = score_page(verdicts, guard, digits / "new", digits / "known")
    assert "the guard came without its encoder" in page["score"]["beside"]
    assert len(page["score"]["thumbnails"]) == 24


def test_a_file_that_went_away_since_it_was_scored_is_not_drawn(guard, digits, tmp_path):
    shutil.copytree(digits / "new", tmp_path / "new")
    verdicts = library.score(guard, tmp_path / "new")
    whole = [one["path"] for one in score_page(verdicts, guard, tmp_path / "new", cache=False)["score"]["thumbnails"]]
    (tmp_path / "new" / whole[0]).unlink()
    left = [one["path"] for one in score_page(verdicts, guard, tmp_path / "new", cache=False)["score"]["thumbnails"]]
    assert left == whole[1:]


def test_curves_and_bands_are_those_of_the_metrics(scored, verdicts):
    curves = scored["score"]["curves"]
    known = np.isin(verdicts.truth, verdicts.classes)
    result = evaluate(verdicts.familiarity[known], verdicts.familiarity[~known])
    assert curves["auroc"] == result.auroc
    assert curves["auroc_interval"] == list(result.auroc_interval())
    assert curves["ap_unknown"] == result.average_precision("unknown")
    assert curves["ap_interval"] == list(result.bootstrap("ap_unknown", replicates=400))
    assert curves["share_unknown"] == (~known).mean()

    def found(drawn, at):
        roc = drawn.roc("unknown")
        return float(np.interp(at, roc.fpr, roc.tpr))

    def precision(drawn, at):
        curve = drawn.precision_recall("unknown")
        return float(curve.precision[np.flatnonzero(curve.recall >= at)[0]])

    for at in (0.05, 0.2):
        low, high = result.bootstrap(lambda drawn, at=at: found(drawn, at), replicates=400)
        assert [row for row in curves["roc_band"] if row[0] == at] == [[at, low, high]]
        assert low <= found(result, at) <= high
    for at in (0.5, 0.9):
        low, high = result.bootstrap(lambda drawn, at=at: precision(drawn, at), replicates=400)
        assert [row for row in curves["precision_recall_band"] if row[0] == at] == [[at, low, high]]
    told = scored["score"]["labelled"]
    wrong, right = told["known_called_unseen"], told["other_called_unseen"]
    assert curves["at"]["roc"] == [wrong / told["known"], right / told["other"]]
    assert curves["at"]["precision_recall"] == [right / told["other"], right / (wrong + right)]


def grouped(digits, folder, groups):
    """A manifest of the new digits in so many groups of each class."""
    folder.mkdir()
    with (folder / "new.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for path in sorted((digits / "new").rglob("*.png")):
            name = path.parent.name
            writer.writerow([path, name, f"{name if groups > 1 else name in ('five', 'six')}{int(path.stem) % groups}"])
    return folder / "new.csv"


def test_groups_are_drawn_whole_and_one_group_has_no_band(guard, digits, cache, tmp_path):
    few = grouped(digits, tmp_path / "few", groups=2)
    verdicts = library.score(guard, few)
    curves = score_page(verdicts, guard, few, cache=cache)["score"]["curves"]
    one_by_one = score_page(verdicts, guard, cache=cache)["score"]["curves"]
    assert "whole groups" in curves["band"]
    assert np.ptp(curves["ap_interval"]) > np.ptp(one_by_one["ap_interval"])
    assert curves["auroc_interval"] != one_by_one["auroc_interval"]
    single = grouped(digits, tmp_path / "single", groups=1)
    curves = score_page(library.score(guard, single), guard, single, cache=cache)["score"]["curves"]
    assert "no band is drawn" in curves["band"]
    assert curves["auroc_interval"] is None
    assert "roc_band" not in curves


def test_inputs_of_one_side_or_none_have_no_curves(guard, digits, cache, tmp_path):
    verdicts = library.score(guard, digits / "known")
    page = score_page(verdicts, guard, digits / "known", cache=cache)
    assert page["score"]["curves"] == {}
    assert [one["name"] for one in page["score"]["distributions"]] == ["known, set aside", "these inputs"]
    assert all(one["beside"]["similarity"] <= 1 + 1e-9 for one in page["score"]["thumbnails"])
    render(page, tmp_path / "page.html")


def test_another_alpha_is_what_the_page_speaks_of(guard, digits, cache):
    verdicts = library.score(guard, digits / "new", alpha=0.2)
    page = score_page(verdicts, guard, digits / "new", cache=cache)
    low, high = guard.calibrator.false_alarm_interval(0.2)
    assert page["calibration"]["alpha"] == 0.2
    assert "at most 20.0\u00a0% of new known inputs fall" in page["calibration"]["promise"]
    assert f"{100 * low:.1f}\u00a0% and {100 * high:.1f}\u00a0%" in page["calibration"]["promise"]
    assert page["score"]["threshold"] == guard.thresholds(0.2)[0]
    assert guard.alpha == 0.05


def test_where_the_batch_decides_the_page_says_so(guard, digits, cache, tmp_path):
    verdicts = library.score(guard, digits / "new", discoveries=0.2)
    page = score_page(verdicts, guard, digits / "new", cache=cache)
    assert page["answer"].endswith("of these, at most 20.0\u00a0% are expected to be known.")
    assert "Benjamini-Hochberg" in page["calibration"]["how"]
    assert "threshold" not in page["score"]
    assert "thresholds" not in page["score"]
    text = render(page, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "How the verdicts were set" in text
    assert "at a level of" not in text


def test_a_guard_by_class_has_a_band_and_a_table(digits, cache, tmp_path):
    made = library.fit(digits / "known", PIXELS, "knn(k=1)", alpha=0.15, by_class=True, cache=cache).classifier
    verdicts = library.score(made, digits / "new")
    page = score_page(verdicts, made, digits / "new", cache=cache)
    assert page["score"]["thresholds"] == made.thresholds().tolist()
    assert [row["class"] for row in page["calibration"]["per_class"]] == list(made.classes)
    assert "taken for any one class" in page["calibration"]["promise"]
    text = " ".join(render(page, tmp_path / "page.html").read_text(encoding="utf-8").split())
    assert "Each class has a threshold of its own" in text
    assert "How the thresholds were set" in text


def test_arrays_have_neighbours_in_the_table_and_no_pictures(tmp_path):
    random = np.random.default_rng(0)
    known = {"features": random.normal(5, 1, (200, 6)).astype(np.float32), "labels": np.arange(200) % 2}
    made = library.fit(known, detector="knn(k=1)").classifier
    new = {"features": random.normal(4, 3, (60, 6)).astype(np.float32)}
    page = score_page(library.score(made, new), made, new, known)
    assert page["score"]["thumbnails"] == []
    assert sum("nearest_known" in row for row in page["score"]["records"]) >= 50
    text = " ".join(render(page, tmp_path / "page.html").read_text(encoding="utf-8").split())
    assert "Nearest known input</th>" in text
    assert "nearest of the 160 inputs that the guard was fitted on" in text


@pytest.mark.slow
def test_ten_thousand_pictures_stay_below_five_megabytes(tmp_path):
    random = np.random.default_rng(0)
    known = {"images": random.integers(0, 90, (300, 48, 48, 3), dtype=np.uint8), "labels": np.arange(300) % 3}
    new = {"images": random.integers(0, 256, (10_000, 48, 48, 3), dtype=np.uint8), "labels": np.arange(10_000) % 6}
    made = library.fit(known, PIXELS, "knn(k=1)", cache=False).classifier
    verdicts = library.score(made, new)
    path = render(score_page(verdicts, made, new, known, cache=False), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert text.count('src="data:image/') == 48
    assert path.stat().st_size < 5_000_000


def test_the_page_of_the_demo_bears_a_guard_by_class(tmp_path, monkeypatch):
    from unseen.api import demo

    for verb, given in (("audit", {"repeats": 1, "detectors": ["knn"]}), ("fit", {"by_class": True})):
        monkeypatch.setattr(demo.api, verb, functools.partial(getattr(demo.api, verb), **given))
    found = library.demo(tmp_path / "demo")
    assert found["info"]["by_class"]
    text = Path(found["page"]).read_text(encoding="utf-8")
    assert "Each class has a threshold of its own" in " ".join(text.split())
    assert "images of digits never shown" in text
    assert text.count('src="data:image/') == 48
    drawn = specs_of(Path(found["page"]))["distributions"]
    assert any("new known digits" in str(row.get("group")) for rows in drawn["datasets"].values() for row in rows)


# Audits and benches


def test_an_audit_in_one_sentence(audited, digits):
    page = audit_page(audited, digits / "known", command="unseen audit known/")
    pick, told = audited.recommended, audited.to_dict()
    row = next(one for one in told["detectors"] if one["name"] == pick["name"])
    low, high = row["auroc_interval"]
    worst = told["held_out"][0]
    assert page["answer"].replace("\u00a0", " ") == (
        f"{pick['name']} told 5 classes, each held out in turn, from the others with a mean AUROC of "
        f"{100 * pick['auroc']:.1f} % (95 % interval {100 * low:.1f} % to {100 * high:.1f} %); the hardest was "
        f"{worst['class']} ({100 * worst['auroc'][pick['name']]:.1f} %)."
    )
    assert f"these 300 inputs of {digits / 'known'}" in page["question"]
    assert "60 inputs were set aside" in page["audit"]["promise"]
    assert page["audit"]["encoder"].startswith("pixels:8x8")
    assert page["reproduce"]["command"] == "unseen audit known/"


def test_an_audit_of_one_held_out_class(digits, cache, tmp_path):
    found = library.audit(digits / "known", PIXELS, detectors=["knn"], held_out=["two"], repeats=1, cache=cache)
    page = audit_page(found)
    assert "told 1 class, held out, from the others" in page["answer"]
    assert "interval" not in page["answer"]
    render(page, tmp_path / "page.html")


def test_the_interval_of_each_held_out_class_is_drawn(audited, tmp_path):
    specs = specs_of(render(audit_page(audited), tmp_path / "page.html"))
    spec = specs["held-out"]
    layer = next(one for one in spec["layer"] if one["mark"]["type"] == "rule")
    drawn = {row["class"]: (row["low"], row["high"]) for row in spec["datasets"][layer["data"]["name"]]}
    name = audited.recommended["name"]
    of_row = next(row for row in audited.rows if row.name == name).auroc_interval
    assert drawn == {held: (100 * low, 100 * high) for held, (low, high) in of_row.items()}


def band_of(spec):
    """Name of the line -> ``(rate, low, high)`` in per cent, of every shaded point."""
    layer = next((one for one in spec["layer"] if one["mark"]["type"] == "area"), None)
    rows = [] if layer is None else spec["datasets"][layer["data"]["name"]]
    return {
        name: [(row["x"], row["low"], row["high"]) for row in rows if row["line"] == name]
        for name in dict.fromkeys(row["line"] for row in rows)
    }


def in_per_cent(band):
    return [pytest.approx([100 * value for value in row], abs=1e-3) for row in band]


def test_the_curves_of_an_audit_have_a_band_over_classes(audited, digits, cache, tmp_path):
    path = render(audit_page(audited), tmp_path / "page.html")
    specs, curves = specs_of(path), audited.to_dict()["curves"]
    for name, key in (("audit-roc", "roc"), ("audit-pr", "precision_recall")):
        assert band_of(specs[name])[audited.recommended["name"]] == in_per_cent(curves[key]["band"])
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert "Each curve is the mean over 5 held-out classes" in text
    assert "not where the curve of any single new class will lie" in text
    assert f"here {100 * curves['share_unknown']:.1f} % on average over classes" in text
    one = library.audit(digits / "known", PIXELS, detectors=["knn"], held_out=["two"], repeats=1, cache=cache)
    path = render(audit_page(one), tmp_path / "one.html")
    assert band_of(specs_of(path)["audit-roc"]) == {}
    assert "no band is drawn" in path.read_text(encoding="utf-8")


def specs_of(path):
    found = re.findall(r'<script type="application/json" id="spec-([^"]+)">(.*?)</script>', path.read_text(), re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_a_bench_shows_every_set_beside_what_needs_no_network(benched, tmp_path):
    page = bench_page(benched, command="unseen bench --known known/")
    for kind, on in (("near", "mean AUROC over 2 near sets"), ("far", "AUROC on the far set")):
        about = benched.groups[kind]
        assert f"{about['best']} has the highest {on}, {100 * about['auroc']:.1f}\u00a0%" in page["answer"]
    path = render(page, tmp_path / "page.html")
    specs = specs_of(path)
    assert {"bench-0", "bench-0-sets", "bench-1", "bench-1-sets"} < set(specs)
    assert sum(name.endswith("-pr") for name in specs) == sum(name.endswith("-roc") for name in specs) == 3
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert "leaves &amp; &lt;bark&gt;" in text
    assert benched.warnings
    for warning in benched.warnings:
        assert warning in html.unescape(text)
    value = max(row.sets["ferns"]["auroc"] for row in benched.baselines)
    assert f"{100 * value:.1f}\u00a0%" in path.read_text(encoding="utf-8")
    drawn = [row for rows in specs["bench-1-0-roc"]["datasets"].values() for row in rows if "line" in row]
    assert {row["line"] for row in drawn} == {benched.groups["far"]["best"], "file size"}
    assert bench_page(benched.to_dict()) == bench_page(benched)


def test_the_curves_of_a_bench_have_bands(benched, tmp_path):
    path = render(bench_page(benched), tmp_path / "page.html")
    specs, lines = specs_of(path), benched.curves["noise"]
    for name, key in (("bench-1-0-roc", "roc"), ("bench-1-0-pr", "precision_recall")):
        assert band_of(specs[name]) == {one["name"]: in_per_cent(one[key]["band"]) for one in lines}
    assert "Shaded around a curve: where 95\u00a0% of 400 resamples" in path.read_text(encoding="utf-8")
    told = benched.to_dict()
    told["curves"] = {
        name: [one | {key: one[key] | {"band": None} for key in ("roc", "precision_recall")} for one in lines]
        for name, lines in told["curves"].items()
    }
    text = render(bench_page(told), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Shaded" not in text


def test_a_bench_of_many_sets_draws_the_curves_of_some(tmp_path):
    random = np.random.default_rng(0)

    def made(n):
        return Support.of(Signals({"features": random.normal(0, 1, (n, 2))}))

    found = run_bench(Sources(made(40), near={f"set {i}": made(8) for i in range(14)}), detectors=["knn(k=1)"])
    path = render(bench_page(found), tmp_path / "page.html")
    assert "Curves of 2 more sets are left out" in path.read_text(encoding="utf-8")
    assert sum(name.endswith("-roc") for name in specs_of(path)) == 12


# Commands


def test_commands_write_pages_and_their_json_stays(unseen, guard, digits, cache, tmp_path):
    guard.save("guard.unseen")
    words = ("score", "guard.unseen", digits / "new", "--json")
    assert unseen(*words, "plain.json")[0] == 0
    code, out, err = unseen(*words, "with.json", "--report", "score.html")
    assert (code, err) == (0, "")
    assert "Page: score.html" in out
    assert Path("plain.json").read_bytes() == Path("with.json").read_bytes()
    text = Path("score.html").read_text(encoding="utf-8")
    assert f"<code>unseen score guard.unseen {digits / 'new'} --json with.json --report score.html</code>" in text
    assert text.count('src="data:image/') == 48
    code, _, err = unseen("score", "guard.unseen", digits / "new", "--report", "s.html", "--known", digits / "known")
    assert (code, err) == (0, "")
    words = ("audit", digits / "known", "-e", PIXELS, "--detectors", "knn", "--repeats", 1, "--cache", cache)
    code, out, err = unseen(*words, "--report", "audit.html", "--json", "-")
    assert (code, err) == (0, "")
    assert set(json.loads(out)) == set(json.loads(unseen(*words, "--json", "-")[1]))
    assert "told 5 classes, each held out in turn" in Path("audit.html").read_text(encoding="utf-8")
    random = np.random.default_rng(0)
    for name, shift in (("known", 0), ("other", 3)):
        np.savez(f"{name}.npz", features=random.normal(shift, 1, (60, 3)).astype(np.float32))
    code, out, err = unseen(
        "bench", "--known", "known.npz", "--far", "other=other.npz", "--detectors", "knn(k=1)", "--report", "b.html"
    )
    assert (code, err) == (0, "")
    assert "Page: b.html" in out
    assert "knn(k=1) has the highest AUROC on the far set" in Path("b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["audit", "score", "bench"])
def test_a_page_that_cannot_be_written_is_named_before_the_work(command, unseen, monkeypatch, tmp_path):
    from unseen import api

    for verb in ("audit", "score", "bench", "load"):
        monkeypatch.setattr(api, verb, lambda *_, **__: pytest.fail("it began"))
    words = {"audit": ["audit", "known"], "score": ["score", "g", "new"], "bench": ["bench", "--known", "known"]}
    (tmp_path / "folder.html").mkdir()
    for page, why in (
        ("none/page.html", "there is no folder none: make it first"),
        ("page.pdf", "must end in .html or .htm"),
        ("folder.html", "is a folder"),
    ):
        code, out, err = unseen(*words[command], "--report", page)
        assert (code, out) == (2, "")
        assert why in err
        assert err.count("\n") == 1


def test_slips_about_known_inputs_are_named_before_the_work(unseen, guard, digits, monkeypatch):
    from unseen import api

    guard.save("guard.unseen")
    monkeypatch.setattr(api, "score", lambda *_, **__: pytest.fail("it began"))
    code, _, err = unseen("score", "guard.unseen", digits / "new", "--known", digits / "known")
    assert code == 2
    assert "give --report FILE.html too" in err
    code, _, err = unseen("score", "guard.unseen", digits / "new", "--known", "none", "--report", "s.html")
    assert code == 3
    assert "none: no such file or folder" in err


# In a browser


# A browser looks for its pipe at these two numbers.
AT_3_AND_4 = """
import fcntl, os, sys
down, up = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3])
os.dup2(down, 3)
os.dup2(up, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A headless browser that is asked over a pipe (Chrome DevTools Protocol); it keeps what it was told meanwhile."""

    def __init__(self, program, home):
        down, self.down = os.pipe()
        self.up, up = os.pipe()
        words = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--remote-debugging-pipe", f"--user-data-dir={home}",
        ]  # fmt: skip
        self.program = subprocess.Popen(
            [sys.executable, "-c", AT_3_AND_4, str(down), str(up), *words],
            pass_fds=(down, up),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self.told, self.number, self.session, self.rest = [], 0, None, b""

    def begin(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        self.number += 1
        words = {"id": self.number, "method": method, "params": params}
        words |= {"sessionId": self.session} if self.session else {}
        os.write(self.down, json.dumps(words).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self.hear(deadline - time.monotonic(), method)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.told.append(answer)

    def hear(self, seconds, method):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.up], [], [], max(0, seconds))
            assert ready, f"no answer to {method}"
            part = os.read(self.up, 1 << 20)
            assert part, "the browser ended"
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def run(self, code):
        done = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def open(self, path, width, scheme="light", media=""):
        self.told.clear()
        phone = width < 500
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.ask("Page.navigate", url=path.as_uri())
        self.run(DRAWN)

    def complaints(self, path):
        """Whatever it asked for beside the page itself, and whatever was written to the console."""
        asked = [one["params"]["request"]["url"] for one in self.told if one["method"] == "Network.requestWillBeSent"]
        spoken = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [url[:99] for url in asked if url != path.as_uri() and not url.startswith("data:")] + [
            str(one["params"])[:300] for one in self.told if one["method"] in spoken
        ]

    def close(self):
        self.program.terminate()
        self.program.wait(timeout=20)
        os.close(self.down)
        os.close(self.up)


DRAWN = """new Promise((done, fail) => {
  const until = Date.now() + 20000;
  const look = () => {
    const places = [...document.querySelectorAll("[data-chart]")];
    if (document.readyState === "complete" && places.every((place) => place.querySelector("svg"))) done(places.length);
    else if (Date.now() > until) fail(new Error("not drawn: " + places.map((place) => place.textContent)));
    else setTimeout(look, 20);
  };
  look();
})"""

# What may not be seen: faint text, parts that are wider than the page or cut, and those that no key reaches.
SEEN = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest("script, noscript, .skip") || !element.getClientRects().length)
      continue;
    texts += 1;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgb(element.closest("svg") ? style.fill : style.color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(contrast.toFixed(2) + " " + walk.currentNode.data.trim().slice(0, 40));
  }
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1]));
  return {
    texts, faint,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    skipped: levels.filter((level, i) => level > 1 + (levels[i - 1] ?? 0)),
    unreachable: [...document.querySelectorAll("main *")].filter((one) =>
      one.scrollWidth > one.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(one).overflowX)
      && one.tabIndex < 0).length,
    cut: [...document.querySelectorAll("svg, img")].filter((one) =>
      one.getBoundingClientRect().right > innerWidth + 1 || !one.getBoundingClientRect().width).length,
  };
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs a chromium browser")
    opened = Browser(CHROMIUM, tmp_path_factory.mktemp("browser"))
    try:
        opened.begin()
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def pages(scored, audited, benched, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    results = {
        "score": scored,
        "audit": audit_page(audited, command="unseen audit known/"),
        "bench": bench_page(benched),
    }
    return {name: render(page, folder / f"{name}.html") for name, page in results.items()}


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["score", "audit", "bench"])
def test_a_browser_shows_it_all(name, width, browser, pages):
    path = pages[name]
    for scheme in ("light", "dark") if width > 500 else ("light",):
        browser.open(path, width, scheme)
        browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        seen = browser.run(SEEN)
        assert seen.pop("texts") > 100
        assert seen == {"faint": [], "overflow": 0, "skipped": [], "unreachable": 0, "cut": 0}
        assert browser.complaints(path) == []


@pytest.mark.parametrize("name", ["score", "audit", "bench"])
def test_it_prints(name, browser, pages):
    """A page of paper is narrower than a desk and nobody can press a link on it."""
    browser.open(pages[name], 673, "dark", media="print")  # A4 less its margins
    seen = browser.run(SEEN)
    assert (seen["faint"], seen["overflow"], seen["cut"]) == ([], 0, 0)
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.open(pages[name], 1280)
    printed = base64.b64decode(browser.ask("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 20_000
    assert browser.complaints(pages[name]) == []


def test_links_lead_somewhere_and_motion_can_be_had_without(browser, pages):
    browser.open(pages["score"], 1280)
    assert browser.run("[...document.querySelectorAll('a')].every((one) => document.querySelector(one.hash))")
    reduced = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    moving = "getComputedStyle(document.documentElement).scrollBehavior"
    assert browser.run(moving) == "smooth"
    browser.ask("Emulation.setEmulatedMedia", features=reduced)
    assert browser.run(moving) == "auto"
