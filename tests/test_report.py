"""The page is written in one piece, asks nothing of any network, and shows what it is given."""

import base64
import copy
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from unseen.errors import NoRoom, WrongUse
from unseen.report import charts, render, thumbnail
from unseen.report import page as page_module

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = """x</script><script>alert("1")</script>'"><img src=x onerror=alert(2)>{{ 7 * 7 }}"""
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)


def audit_results(classes=10):
    rng = np.random.default_rng(1)
    names = ["ridge >> energy", "knn", "mahalanobis", "msp"]
    means = [0.962, 0.958, 0.941, 0.887]
    held_out = []
    for index in range(classes):
        auroc = {name: float(min(1, rng.normal(mean, 0.03))) for name, mean in zip(names, means, strict=True)}
        held_out.append({"class": f"digit {index}", "auroc": auroc, "n_unknown": 180})
    detectors = [
        {
            "name": name,
            "auroc": mean,
            "auroc_interval": [mean - 0.02, min(1.0, mean + 0.015)],
            "ap_unknown": mean - 0.1,
            "fpr_at_tpr95": 1.2 - mean,
            "fit_seconds": 0.0123,
            "score_seconds": 1.5,
            "encoder": "packaged",
        }
        for name, mean in zip(names, means, strict=True)
    ]
    detectors.append(
        detectors[1]
        | {"name": "pixels: knn", "auroc": 0.71, "auroc_interval": [0.66, 0.75], "encoder": "pixels", "baseline": True}
    )
    return {
        "recommended": {
            "name": "ridge >> energy",
            "setting": {"temperature": 1.0, "alpha": [0.1, 1]},
            "sentence": "It notices a digit it was never taught 96.2 % of the time.",
            "ties": ["knn"],
            "confident": False,
        },
        "detectors": detectors,
        "held_out": held_out,
        "warnings": ["The packaged network may have met these classes."],
        "n": 1797,
        "classes": classes,
        "repeats": 3,
        "seed": 0,
        "encoder": "packaged (EfficientNet-Lite0, ImageNet-1k)",
    }  # fmt: skip


def score_results(n=240, unseen=31):
    rng = np.random.default_rng(2)
    familiarity = np.sort(np.concatenate([rng.normal(-6, 1.5, unseen), rng.normal(0, 1, n - unseen)]))
    records = [
        {
            "path": f"photos/2024/session {index % 7}/IMG_{index:04d}.jpg",
            "verdict": "unseen" if index < unseen else "known",
            "label": f"digit {index % 10}",
            "nearest": f"digit {index % 10}",
            "p_value": float((index + 1) / (n + 1)),
            "familiarity": float(value),
        }
        for index, value in enumerate(familiarity)
    ]
    pictures = [
        record | {"image": thumbnail(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)), "caption": f"rank {rank + 1}"}
        for rank, record in enumerate(records[:12])
    ]
    pictures[0] |= {
        "kind": "the most novel",
        "beside": {"path": "known/digit 3/IMG_0007.jpg", "label": "digit 3", "similarity": 0.83}
        | {"image": thumbnail(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))},
    }
    steps = np.linspace(0, 1, 500)
    return {
        "alpha": 0.05,
        "n": n,
        "unseen": unseen,
        "share_unseen": unseen / n,
        "expected_range": [5, 19],
        "records": records,
        "distributions": [
            {"name": "known, set aside", "scores": rng.normal(0, 1, 400).tolist()},
            {"name": "new inputs", "scores": familiarity.tolist()},
        ],
        "threshold": -1.7,
        "curves": {
            "roc": np.stack([steps, steps**0.1], axis=1).tolist(),
            "auroc": 0.909,
            "auroc_interval": [0.88, 0.93],
            "roc_band": [[x, max(0.0, x**0.1 - 0.07), min(1.0, x**0.1 + 0.05)] for x in (0.0, 0.05, 0.5, 1.0)],
            "precision_recall": np.stack([steps, 1 - steps / 2], axis=1).tolist(),
            "precision_recall_band": [[x, 0.9 - x / 2, 1 - x / 3] for x in (0.01, 0.5, 0.9, 1.0)],
            "share_unknown": 0.129,
            "ap_unknown": 0.731,
            "ap_interval": [0.66, 0.79],
            "at": {"roc": [0.03, 0.7], "precision_recall": [0.7, 0.6]},
            "band": "Shaded: where 95 % of 400 resamples have the curve.",
        },
        "beside": "Beside each stands the nearest of the 240 inputs that the guard was fitted on.",
        "notes": ["1 file is not an image by name and was passed over: notes.txt"],
        "labelled": {
            "known": 200,
            "known_called_unseen": 4,
            "other": 40,
            "other_called_unseen": 27,
            "accuracy_on_known": 0.955,
        },
        "thumbnails": pictures,
        "skipped": [{"path": "photos/broken.jpg", "reason": "truncated after 12,288 of 90,112 bytes"}],
    }


def full_results():
    return {
        "title": "Guard for handwritten digits",
        "answer": "31 of 240 inputs are unseen; chance alone would give 5 to 19.",
        "question": "Which of photos/ show something the classifier was never taught?",
        "audit": audit_results(),
        "score": score_results(),
        "calibration": {
            "n": 360,
            "alpha": 0.05,
            "promise": "Of known inputs like those set aside, at most 5 % are called unseen, on average.",
            "does_not_promise": "It does not say how many of the unknown inputs are found.",
        },
        "reproduce": {
            "command": "unseen score guard.unseen photos/ -o scores.csv",
            "versions": {"unseen": "0.1.0", "torch": "2.9.0", "numpy": "2.3.0"},
            "seed": 0,
            "date": "2025-06-01",
            "machine": "2 cores, no accelerator",
        },
    }


class Page(HTMLParser):
    """Collects the tags of a page and complains about those that do not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts, self.scripts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {tag} {attrs}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def ids(self):
        return {attrs["id"] for _, attrs in self.tags if "id" in attrs}

    @property
    def specs(self):
        kept = self.all("script")
        pairs = zip(kept, self.scripts, strict=True)
        return {attrs["id"]: json.loads(text) for attrs, text in pairs if attrs.get("type") == "application/json"}


def draw(results, folder):
    return Page(render(results, folder / "page.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    path = render(full_results(), tmp_path_factory.mktemp("report") / "page.html")
    return path, Page(path.read_text(encoding="utf-8"))


def test_one_file_that_asks_nothing_of_any_network(full):
    path, page = full
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]  # no temporary file stays
    assert path.stat().st_size < 1_500_000
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, f"<{tag} {name}={value[:80]!r}>"
    style = re.search(r"<style>(.*?)</style>", path.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert not any("$schema" in spec for spec in page.specs.values())


def test_the_policy_allows_the_scripts_of_the_page_and_no_others(full):
    _, page = full
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert policy.count("'sha256-") == sum("type" not in attrs for attrs in page.all("script"))


def test_structure_and_accessibility(full):
    _, page = full
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert len(page.all("img")) == 13
    assert all(attrs.get("alt") for attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    anchors = [attrs["href"][1:] for attrs in page.all("a")]
    labels = [attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs]
    assert set(anchors) | set(labels) <= page.ids
    assert {attrs["data-chart"] for attrs in page.all("div") if "data-chart" in attrs} == set(page.specs)
    assert len(page.all("figcaption")) == len(page.all("figure"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("scope") in {"row", "col"} for attrs in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_everything_given_is_on_the_page(full):
    _, page = full
    results = full_results()
    for said in (
        results["answer"],
        results["question"],
        results["audit"]["warnings"][0],
        results["audit"]["recommended"]["sentence"],
        "alpha = [0.1, 1]",
        "no winner is claimed",
        results["calibration"]["promise"],
        results["calibration"]["does_not_promise"],
        results["reproduce"]["command"],
        "truncated after 12,288 of 90,112 bytes",
        "12.9 %",  # of the inputs are unseen
        "5 to 19",
        "And 190 more",
        "Of 200 inputs labelled with a known class 2.0 % were called unseen; for 95.5 % the nearest class is",
        "Of 40 inputs labelled with another class 67.5 % were called unseen.",
        results["score"]["notes"][0],
        results["score"]["beside"],
        "nearest known: digit 3 , known/digit 3/IMG_0007.jpg (0.83)",
        "looks like digit 1",
        "Average precision 73.1 % (66.0 % to 79.0 %)",
        "here 12.9 % (dashed: guessing)",
        results["score"]["curves"]["band"],
        "96.2 % 94.2 % to 97.7 % 86.2 % 23.8 % 12.3 ms 1.5 s packaged",
    ):
        assert said in page.text
    charts_there = {"distributions", "roc", "precision-recall", "detectors", "held-out"}
    assert {f"spec-{name}" for name in charts_there} == set(page.specs)
    assert page.ids >= {"verdicts", "pictures", "records", "audit", "calibration", "skipped", "reproduce"}


SECTIONS = {
    "audit": {"audit"},
    "score": {"verdicts", "pictures", "records", "skipped"},
    "calibration": {"calibration"},
    "reproduce": {"reproduce"},
}


@pytest.mark.parametrize("key", SECTIONS)
def test_a_section_is_drawn_when_its_key_is_there(key, tmp_path):
    results = full_results()
    alone = {name: results[name] for name in ("title", "answer", key)}
    everything = set().union(*SECTIONS.values())
    assert draw(alone, tmp_path).ids & everything == SECTIONS[key]
    without = {name: value for name, value in results.items() if name != key}
    assert draw(without, tmp_path).ids & everything == everything - SECTIONS[key]


def test_a_page_without_charts_carries_no_script(tmp_path):
    page = draw({"title": "Nothing", "answer": "Nothing was asked."}, tmp_path)
    assert not page.all("script")
    assert (tmp_path / "page.html").stat().st_size < 20_000


@pytest.mark.parametrize("key", ["audit", "score"])
def test_every_optional_part_may_be_missing(key, tmp_path):
    """Any one key of a section may be left out, or all but the counts."""
    results = full_results()
    for left_out in results[key]:
        part = {name: value for name, value in results[key].items() if name != left_out}
        draw({"title": "t", "answer": "a", key: part}, tmp_path)
    draw({"title": "t", "answer": "a", key: {"n": 3}}, tmp_path)


def hostile(value):
    if isinstance(value, str):
        return value if value in {"known", "unseen"} else value + HOSTILE
    if isinstance(value, dict):
        return {hostile(key) if " " in key else key: hostile(item) for key, item in value.items()}
    return [hostile(item) for item in value] if isinstance(value, list) else value


def test_hostile_names_stay_text(full, tmp_path):
    results = full_results()
    given = copy.deepcopy(results["score"]["thumbnails"])
    results = hostile(results)
    results["reproduce"]["versions"] = {HOSTILE: HOSTILE}
    for row, as_given in zip(results["score"]["thumbnails"], given, strict=True):
        row["image"] = as_given["image"]
    results["score"]["thumbnails"][0]["beside"]["image"] = given[0]["beside"]["image"]
    page = draw(results, tmp_path)
    tame = full[1]
    assert [tag for tag, _ in page.tags if tag in {"script", "img"}] == [
        tag for tag, _ in tame.tags if tag in {"script", "img"}
    ]
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert HOSTILE in page.text
    assert page.specs["spec-held-out"]  # parses, so its text did not end the element


def test_a_name_that_is_no_utf8_is_written_with_escapes(tmp_path):
    results = {
        "title": "t",
        "answer": "a",
        "score": {"n": 1, "skipped": [{"path": "a\udcff.jpg", "reason": "b"}]},
    }
    assert "a\\udcff.jpg" in draw(results, tmp_path).text


def test_numbers_that_are_missing_or_not_finite_are_dashes(tmp_path):
    results = full_results()
    results["audit"]["detectors"][0] |= {"auroc": float("nan"), "auroc_interval": None, "fit_seconds": None}
    results["audit"]["held_out"][0]["auroc"] = {"knn": float("nan")}
    results["score"]["records"][0]["p_value"] = float("nan")
    results["score"]["distributions"][0]["scores"][:2] = [float("inf"), float("nan")]
    results["score"]["curves"]["roc"][3] = [float("nan"), 0.5]
    page = draw(results, tmp_path)
    assert "nan" not in page.text.lower().split()
    assert "NaN" not in json.dumps(page.specs)
    assert "Infinity" not in json.dumps(page.specs)


def test_many_inputs_classes_and_pictures_stay_small(tmp_path):
    rng = np.random.default_rng(3)
    results = full_results()
    results["audit"] = audit_results(classes=1000)
    score = results["score"] = score_results(n=30_000, unseen=2_000)
    score["distributions"] = [{"name": "new", "scores": rng.normal(size=200_000)}]
    noise = thumbnail(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    score["thumbnails"] = [score["thumbnails"][1] | {"image": noise, "beside": {"image": noise}} for _ in range(200)]
    score["skipped"] = [{"path": "p" * 10_000, "reason": "r" * 10_000} for _ in range(5_000)]
    page = draw(results, tmp_path)
    assert (tmp_path / "page.html").stat().st_size < 3_000_000
    assert "And 29,950 more" in page.text
    assert "left out to keep this page small" in page.text
    assert "And 4,800 more" in page.text
    assert "The 960 best classes are not drawn" in page.text


def test_held_out_classes_come_worst_first(full):
    _, page = full
    values = [row["auroc"]["ridge >> energy"] for row in audit_results()["held_out"]]
    worst = f"digit {int(np.argmin(values))}"
    strip = page.specs["spec-held-out"]["layer"][0]["encoding"]["y"]["sort"]
    assert strip[0] == worst
    assert len(strip) == 10


def test_the_results_are_not_changed(tmp_path):
    results = full_results()
    before = copy.deepcopy(results)
    render(results, tmp_path / "page.html")
    assert results == before


def test_two_pages_of_the_same_results_are_the_same_bytes(full, tmp_path):
    assert render(full_results(), tmp_path / "again.html").read_bytes() == full[0].read_bytes()


def test_histogram_counts_every_score_and_has_an_edge_on_the_threshold():
    scores = np.random.default_rng(4).standard_cauchy(20_000)  # far tails
    rows, gathered = charts.histogram([{"name": "a", "scores": scores}], threshold=-1.23)
    assert gathered
    assert sum(row["count"] for row in rows) == scores.size
    assert min(abs(row["start"] + 1.23) for row in rows) < 1e-9
    below = sum(row["count"] for row in rows if row["end"] <= -1.23 + 1e-9)
    assert below == np.count_nonzero(scores < -1.23)
    assert len(rows) <= charts.MAX_BINS + 2


def by_class_results():
    results = full_results()
    del results["score"]["threshold"]
    results["score"]["thresholds"] = [-1.7, -2.9, -1.1]
    results["calibration"]["per_class"] = [
        {"class": "zero", "n_calibration": 81, "threshold": -1.7, "false_alarm_interval": [0.014, 0.106]},
        {"class": "one", "n_calibration": 9, "threshold": -2.9, "false_alarm_interval": None},
    ]
    return results


def rules(page):
    """Where the chart of familiarity has an upright line, and where its band reaches."""
    at = {}
    spec = page.specs["spec-distributions"]
    for layer in spec["layer"]:
        values = spec["datasets"][layer["data"]["name"]][0]
        if "low" in values:
            ends = [values[layer["encoding"][x]["field"]] for x in ("x", "x2") if x in layer["encoding"]]
            at.setdefault(layer["mark"]["type"], []).append(ends)
    return at


def test_one_threshold_a_class_is_a_band(tmp_path):
    """No line says of inputs between the lowest and the highest threshold what they are."""
    page = draw(by_class_results(), tmp_path)
    at = rules(page)
    assert at["rect"] == [[-2.9, -1.1]]
    assert sorted(at["rule"]) == [[-2.9], [-1.1]]
    assert at["text"] == [[-2.9], [-1.1]], "unseen left of the band, known right of it"
    assert "from −2.90 to −1.10, the grey band: left of it every input is called unseen" in page.text
    assert "Left of the line" not in page.text
    assert "the verdicts above are none of them" in page.text
    assert "How the thresholds were set" in page.text
    assert "zero 81 −1.70 1.4 % to 10.6 % one 9 −2.90 pooled: no promise" in page.text


def test_one_threshold_for_all_is_a_line(full, tmp_path):
    for page in (full[1], draw(full_results() | {"score": score_results() | {"thresholds": [-1.7, -1.7]}}, tmp_path)):
        at = rules(page)
        assert "rect" not in at
        assert at["rule"] == [[-1.7]]
        assert "Left of the line they are called unseen (threshold −1.70)" in page.text
        assert "grey band" not in page.text
        assert "How the threshold was set" in page.text


def test_where_the_batch_decides_no_threshold_is_drawn(tmp_path):
    results = full_results()
    results["score"] |= {"discoveries": 0.1, "expected_range": None, "alpha": None}
    page = draw(results, tmp_path)
    assert rules(page) == {}
    assert "of those called unseen, at most 10.0 % are expected to be known" in page.text
    assert "Left of the line" not in page.text
    assert "by chance alone" not in page.text


def test_thresholds_of_many_classes_end(tmp_path):
    results = by_class_results()
    results["calibration"]["per_class"] *= 500
    assert "And 800 more" in draw(results, tmp_path).text


@pytest.mark.parametrize("scores", [[], [float("nan")], [2.0], [2.0] * 9])
def test_histogram_of_little(scores):
    rows, _ = charts.histogram([{"name": "a", "scores": scores}], threshold=2.0)
    assert sum(row["count"] for row in rows) == np.isfinite(scores).sum()


def test_thumbnails_of_tiny_pictures_are_crisp_and_of_photos_small():
    from PIL import Image

    rng = np.random.default_rng(5)
    digit = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    decoded = decode(thumbnail(digit), Image)
    assert decoded.shape == (96, 96, 3)
    np.testing.assert_array_equal(decoded[6::12, 6::12], digit)
    photo = np.linspace(0, 255, 480 * 640 * 3).reshape(480, 640, 3).astype(np.uint8)
    assert decode(thumbnail(photo), Image).shape == (72, 96, 3)
    assert decode(thumbnail(photo[:1]), Image).shape == (1, 96, 3)
    assert len(thumbnail(photo)) < 5_000
    small = thumbnail(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))  # too large to be enlarged: no PNG of 16 kB
    assert decode(small, Image).shape == (64, 64, 3)
    assert len(small) < 9_000
    assert decode(thumbnail(digit[:, ::-1], size=20), Image).shape == (16, 16, 3)


def decode(text, image):
    import io

    return np.asarray(image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((8, 8)), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), np.zeros((8, 8, 4), np.uint8)],
)
def test_a_thumbnail_of_another_shape_or_type_is_refused(wrong):
    with pytest.raises(WrongUse, match=r"uint8 of shape \(H, W, 3\), got"):
        thumbnail(wrong)


@pytest.mark.parametrize("image", ["not base64!", base64.b64encode(b"<svg onload=alert(1)>").decode(), b"plain"])
def test_an_image_that_is_none_is_named(image, tmp_path):
    row = {"path": "a.jpg", "verdict": "known", "image": image}
    with pytest.raises(WrongUse, match=r"thumbnail of a\.jpg"):
        render({"title": "t", "answer": "a", "score": {"n": 1, "thumbnails": [row]}}, tmp_path / "p.html")
    assert not list(tmp_path.iterdir())


def test_raw_bytes_are_taken_too(tmp_path):
    data = base64.b64decode(thumbnail(np.zeros((8, 8, 3), np.uint8)))
    row = {"path": "a.jpg", "verdict": "known", "image": data}
    page = draw({"title": "t", "answer": "a", "score": {"n": 1, "thumbnails": [row]}}, tmp_path)
    assert page.all("img")[0]["src"] == "data:image/png;base64," + base64.b64encode(data).decode()


def test_wrong_use_says_what_to_do(tmp_path):
    with pytest.raises(WrongUse, match="need 'answer', a text: got None"):
        render({"title": "t"}, tmp_path / "page.html")
    with pytest.raises(WrongUse, match="is a folder: name a file in it"):
        render({"title": "t", "answer": "a"}, tmp_path)
    with pytest.raises(WrongUse, match="lies in no folder: make that first"):
        render({"title": "t", "answer": "a"}, tmp_path / "none" / "page.html")
    curves = {"roc": [[0, 0], [1, 1]], "positive": "new"}
    with pytest.raises(WrongUse, match="positive is 'known' or 'unknown', got 'new'"):
        render({"title": "t", "answer": "a", "score": {"curves": curves}}, tmp_path / "page.html")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(NoRoom, match="the disk is full"):
        render({"title": "t", "answer": "a"}, path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_importing_the_room_loads_no_plotting_library():
    code = "import sys, unseen.report; print({'altair', 'vl_convert', 'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_readings_are_points_of_the_curve_and_never_better_than_it():
    roc = [[0.0, 0.2], [0.04, 0.5], [0.06, 0.9], [0.3, 1.0], [1.0, 1.0]]
    band = [[0.05, 0.4, 0.7], [0.1, 0.8, 0.95]]
    read = page_module._readings(roc, band)
    assert [(row["x"], row["y"]) for row in read] == [(0.0, 0.2), (0.04, 0.5), (0.06, 0.9), (0.3, 1.0)]
    assert [(row["low"], row["high"]) for row in read] == [(None, None), (0.4, 0.7), (0.8, 0.95), (None, None)]
    precision = [[0.0, 1.0], [0.6, 0.9], [0.85, 0.8], [0.85, 0.7], [1.0, 0.5], [1.0, 0.2]]
    read = page_module._readings(precision, recall=True)
    assert [(row["x"], row["y"]) for row in read] == [(0.6, 0.9), (0.85, 0.8), (1.0, 0.5)]


def test_curves_are_drawn_with_band_guess_and_where_the_verdicts_lie(full):
    _, page = full
    for name, guess in (("spec-roc", [(0, 0), (100, 100)]), ("spec-precision-recall", [(0, 12.9), (100, 12.9)])):
        spec = page.specs[name]
        kinds = {}
        for layer in spec["layer"]:
            kinds.setdefault(layer["mark"]["type"], []).append(spec["datasets"][layer["data"]["name"]])
        dashed, curve = kinds["line"]
        assert [(row["x"], row["y"]) for row in dashed] == guess
        assert len(curve) <= charts.MAX_POINTS
        assert len(kinds["area"][0]) == 4
        assert all(row["low"] <= row["high"] for row in kinds["area"][0])
        assert len(kinds["point"][0]) == 1


def test_a_precision_recall_curve_has_neither_the_convention_nor_what_follows_full_recall():
    line = {"points": [[0.0, 1.0], [0.5, 0.8], [1.0, 0.7], [1.0, 0.4]]}
    spec = charts.precision_recall([line])
    drawn = [row for rows in spec["datasets"].values() for row in rows]
    assert [(row["x"], row["y"]) for row in drawn] == [(50.0, 80.0), (100.0, 70.0)]


def test_several_curves_have_a_legend_and_dashes():
    lines = [{"name": name, "points": [[0, 0], [0.5, 0.6], [1, 1]]} for name in ("knn", "pixels: knn")]
    line = charts.roc(lines, "known")["layer"][-1]["encoding"]
    assert line["color"]["scale"]["domain"] == line["strokeDash"]["scale"]["domain"] == ["knn", "pixels: knn"]
    assert line["color"]["legend"] is not None
    alone = charts.roc(lines[:1], "known")["layer"][-1]["encoding"]
    assert alone["color"]["legend"] is None


def test_files_skipped_in_an_audit_are_listed_too(tmp_path):
    results = full_results()
    results["audit"]["skipped"] = [{"path": "known/empty.png", "reason": "empty file"}]
    page = draw(results, tmp_path)
    assert "2 files were not read and take no part" in page.text
    assert "known/empty.png empty file photos/broken.jpg truncated" in page.text


def test_what_was_not_tried_and_what_was_noticed_is_said(tmp_path):
    results = full_results()
    results["audit"] |= {
        "not_tried": {"vim": "too few inputs"},
        "notes": ["2 images look the same"],
        "promise_title": "What the numbers say",
        "promise": "Means are over classes.",
        "does_not_promise": "Nothing of other places.",
    }
    text = draw(results, tmp_path).text
    for said in (
        "Not tried: 1",
        "vim : too few inputs",
        "2 images look the same",
        "What the numbers say Means are over",
    ):
        assert said in text
    assert "What it does not promise Nothing of other places." in text


def test_a_long_warning_is_not_cut(tmp_path):
    results = full_results()
    results["audit"]["warnings"] = ["the near set is told apart by " + "and by ".join(["raw pixels alone "] * 40)]
    assert " ".join(results["audit"]["warnings"][0].split()) in draw(results, tmp_path).text


@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium browser")
def test_a_browser_draws_every_chart(full, tmp_path):
    path, page = full
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = done.stdout.split("</main>", maxsplit=1)[0]
    assert body.count("<svg") == len(page.specs)
    assert "could not be drawn" not in body
    for label in ("AUROC (%)", "familiarity (higher = more known)", "known inputs accepted (%)", "digit 3"):
        assert label in body
