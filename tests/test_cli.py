import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PIXELS = ["-e", "pixels?size=8"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def guard(digits, cache, tmp_path_factory):
    import unseen as library

    path = tmp_path_factory.mktemp("guard") / "guard.unseen"
    library.fit(digits / "known", "pixels?size=8", "knn(k=1)", cache=cache).classifier.save(path)
    return path


def one_line(err):
    assert err.startswith("unseen: ")
    assert err.count("\n") == 1
    return err


# What the commands find


def test_audit(unseen, digits, cache):
    words = ("audit", digits / "known", *PIXELS, "--cache", cache, "--repeats", 1, "--detectors", "knn, msp")
    code, out, err = unseen(*words, "--json", "audit.json")
    assert (code, err) == (0, "")
    found = json.loads(Path("audit.json").read_text())
    assert found["recommended"]["name"] in {row["name"] for row in found["detectors"]}
    for row in found["detectors"]:
        assert {
            "name", "auroc", "auroc_interval", "ap_unknown", "fpr_at_tpr95", "fit_seconds", "score_seconds"
        } <= set(row)  # fmt: skip
        assert 0.5 < row["auroc"] <= 1
    assert {held["class"] for held in found["held_out"]} == {"zero", "one", "two", "three", "four"}
    assert (found["n"], found["n_calibration"], found["classes"], found["seed"]) == (300, 60, 5, 0)
    assert found["encoder"].startswith("pixels:8x8")
    lines = out.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the command to copy stands on one line
    assert "\u2026" not in out, "a column was cut"
    assert found["recommended"]["expression"] in lines[-1]
    assert lines[-1].startswith("Next:  unseen fit ")
    # The same found once more, and nothing but JSON.
    code, out, _ = unseen(*words, "--json", "-")
    again = json.loads(out)
    assert (code, again["recommended"]) == (0, found["recommended"])


def test_held_out_classes_by_name_and_number(unseen, digits, cache):
    words = ("audit", digits / "known", *PIXELS, "--cache", cache, "--repeats", 1, "--detectors", "knn", "--json", "-")
    assert len(json.loads(unseen(*words, "--held-out", "2")[1])["held_out"]) == 2
    held = json.loads(unseen(*words, "--held-out", "zero, two")[1])["held_out"]
    assert {one["class"] for one in held} == {"zero", "two"}
    code, _, err = unseen(*words, "--held-out", "2,")
    assert code == 2
    assert "no class '2'" in one_line(err)


def test_fit_then_score(unseen, digits, cache):
    code, out, err = unseen("fit", digits / "known", *PIXELS, "-d", "knn(k=1)", "--cache", cache, "--json", "fit.json")
    assert (code, err) == (0, "")
    assert "Next:  unseen score guard.unseen NEW_INPUTS" in out
    made = json.loads(Path("fit.json").read_text())
    assert (made["n_fit"], made["n_calibration"], made["detector"]) == (240, 60, "knn(k=1)")
    code, out, err = unseen("score", "guard.unseen", digits / "new", "--json", "s.json", "--copy-unseen", "review")
    assert (code, err) == (0, "")
    found = json.loads(Path("s.json").read_text())
    assert (found["n"], found["skipped"]) == (140, [])
    assert {"path", "verdict", "label", "p_value", "familiarity"} <= set(found["records"][0])
    assert f"{found['unseen']:,} of 140 found unseen" in out
    assert "Promised: at most 5.0 % of known inputs" in out
    with Path("scores.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == [r["path"] for r in found["records"]]
    copied = {str(path.relative_to("review")) for path in Path("review").rglob("*.png")}
    assert copied == {r["path"] for r in found["records"] if r["verdict"] == "unseen"}
    code, out, _ = unseen("score", "guard.unseen", digits / "new", "--json", "-", "--alpha", 0.2, "-o", "t.jsonl")
    assert json.loads(out)["unseen"] > found["unseen"]
    assert len(Path("t.jsonl").read_text().splitlines()) == 140
    code, out, _ = unseen("info", "guard.unseen")
    assert "this guard" in out
    assert json.loads(unseen("info", "guard.unseen", "--json", "-")[1])["threshold"] == made["threshold"]


def test_by_class_from_fit_to_score(unseen, digits, cache):
    words = ("fit", digits / "known", *PIXELS, "-d", "knn(k=1)", "--cache", cache, "--by-class")
    code, _, err = unseen(*words)
    assert code == 3
    assert "by class, alpha 0.05 needs 19 known inputs set aside in a class, and no class has more than 12" in err
    assert "fit without by_class" in one_line(err)
    code, out, err = unseen(*words, "--alpha", 0.1, "--json", "fit.json")
    assert (code, err) == (0, "")
    assert max(len(line) for line in out.splitlines() if not line.startswith(("Next", "Saved"))) <= 80
    assert "of the known inputs taken for any one class" in " ".join(out.split())
    made = json.loads(Path("fit.json").read_text())
    assert (made["by_class"], made["threshold"], made["alpha"]) == (True, None, 0.1)
    assert [row["class"] for row in made["per_class"]] == made["classes"]
    assert sum(row["n_calibration"] for row in made["per_class"]) == made["n_calibration"] == 60
    code, out, _ = unseen("info", "guard.unseen")
    rows = {line.split()[0]: line for line in out.splitlines() if line.split() and line.split()[0] in made["classes"]}
    for row in made["per_class"]:
        low, high = row["false_alarm_interval"] or (0, 0)
        assert f"{100 * low:.1f} % to {100 * high:.1f} %" in rows[row["class"]] or row["pooled"]
        assert ("pooled: no promise" in rows[row["class"]]) == row["pooled"]
    assert "this guard" not in out, "there is no one rate"
    about = json.loads(unseen("info", "guard.unseen", "--json", "-")[1])
    assert about["per_class"] == made["per_class"]
    code, out, err = unseen("score", "guard.unseen", digits / "new", "--json", "s.json")
    assert (code, err) == (0, "")
    assert "Promised: at most 10.0 % of known inputs, among those taken for each class" in " ".join(out.split())
    found = json.loads(Path("s.json").read_text())
    assert (found["by_class"], found["alpha"], found["discoveries"]) == (True, 0.1, None)
    thresholds = {row["class"]: row["threshold"] for row in made["per_class"]}
    for record in found["records"]:
        assert (record["verdict"] == "unseen") == (record["familiarity"] < thresholds[record["nearest"]])


def test_pooled_classes_are_said_at_fit_and_score(unseen):
    rng = np.random.default_rng(0)
    codes = np.r_[np.zeros(100, int), np.ones(100, int), np.full(30, 2)]
    features = 9 * np.eye(3)[codes] + rng.normal(size=(230, 3))
    np.savez("known.npz", features=features, labels=np.array(["ant", "bee", "cow"])[codes])
    code, out, _ = unseen("fit", "known.npz", "-d", "knn(k=1)", "--by-class", "--json", "fit.json")
    assert code == 0
    said = "1 of 3 classes are pooled (cow): fewer than 19 inputs set aside were taken for each."
    assert said in " ".join(out.split())
    assert json.loads(Path("fit.json").read_text())["notes"][0].startswith(said)
    assert "pooled: no promise" in unseen("info", "guard.unseen")[1]
    code, out, _ = unseen("score", "guard.unseen", "known.npz", "--discoveries", 0.5)
    assert said in " ".join(out.split())
    assert "promised only where no class is pooled" in " ".join(out.split())


def test_discoveries(unseen, guard, digits):
    words = ("score", guard, digits / "new", "--discoveries", 0.2)
    code, out, err = unseen(*words, "--json", "s.json", "--copy-unseen", "review")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    said = " ".join(out.split())
    assert "Decided over all 140 together (Benjamini-Hochberg): of those called unseen at most 20.0 % are known" in said
    assert "Promised" not in said
    assert "q-value" in said
    assert "discoveries among 140 inputs are none or at least 12" in said
    found = json.loads(Path("s.json").read_text())
    assert (found["alpha"], found["discoveries"], found["expected_if_all_known"]) == (None, 0.2, None)
    called = {r["path"] for r in found["records"] if r["verdict"] == "unseen"}
    assert called == {r["path"] for r in found["records"] if r["q_value"] <= 0.2 * (1 + 1e-9)}
    assert called == {str(path.relative_to("review")) for path in Path("review").rglob("*.png")}
    assert 12 <= len(called) == found["unseen"] < 140
    with Path("scores.csv").open() as file:
        assert [float(row["q_value"]) for row in csv.DictReader(file)] == [r["q_value"] for r in found["records"]]
    # Nothing can be called: none of the digits looks less familiar than the least familiar one set aside.
    code, _, err = unseen("score", guard, digits / "new", "--discoveries", 0.01)
    assert code == 3
    assert "discoveries 0.01 needs 99 calibration scores, there are 60" in one_line(err)


def test_copies_never_replace_other_files(unseen, guard, digits):
    folder = Path("new")
    for name, size in (("a/x.png", 60), ("b/x.png", 90)):
        (folder / name).parent.mkdir(parents=True)
        Image.effect_noise((size, size), 200).convert("RGB").save(folder / name)
    (folder / "list.csv").write_text(f"path\na/x.png\n../new/b/../a/../b/x.png\n{(folder / 'b/x.png').resolve()}\n")
    code, out, _ = unseen("score", guard, folder, "--copy-unseen", "review")
    assert code == 0
    assert sorted(str(p.relative_to("review")) for p in Path("review").rglob("*.png")) == ["a/x.png", "b/x.png"]
    Path("review/a/x.png").write_bytes(b"mine")
    code, out, _ = unseen("score", guard, folder, "--copy-unseen", "review")
    assert "1 copies got a number" in out
    assert Path("review/a/x.png").read_bytes() == b"mine"
    assert Path("review/a/x-2.png").read_bytes() == (folder / "a/x.png").read_bytes()
    assert not Path("review/b/x-2.png").exists(), "the same content needs no second copy"
    code, out, _ = unseen("score", guard, folder / "list.csv", "--copy-unseen", "elsewhere")
    assert code == 0
    inside = list(Path("elsewhere").rglob("*.png"))
    assert len(inside) == 3
    assert {p.name for p in Path().iterdir()} == {"new", "review", "elsewhere", "scores.csv"}


def test_arrays_cannot_be_copied(unseen):
    rng = np.random.default_rng(0)
    np.save("known.npy", rng.normal(size=(200, 4)))
    assert unseen("fit", "known.npy", "-d", "knn")[0] == 0
    code, _, err = unseen("score", "guard.unseen", "known.npy", "--copy-unseen", "review")
    assert code == 2
    assert "no files to copy" in one_line(err)


def test_encode(unseen, digits, cache):
    code, out, err = unseen(
        "encode", digits / "known", *PIXELS, "--cache", cache, "-o", "f.npz", "--json", "e.json", "--limit", 50
    )
    assert (code, err) == (0, "")
    assert "50 inputs of 5 classes: features (192 wide)" in out
    assert json.loads(Path("e.json").read_text())["signals"] == {"features": 192}
    with np.load("f.npz") as held:
        assert held["features"].shape == (50, 192)
    code, out, _ = unseen("encode", "f.npz")
    assert "Kept" not in out


def test_list(unseen):
    code, out, err = unseen("list")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "`" not in out
    rooms = json.loads(unseen("list", "--json", "-")[1])
    assert {"knn", "msp"} <= {part["name"] for part in rooms["detectors"]}


def test_names_are_printed_as_they_are(unseen, digits, cache):
    rng = np.random.default_rng(0)
    for name in ("[red]a", ":cat:", "b[bold]"):
        folder = Path("odd") / name
        folder.mkdir(parents=True)
        for i in range(30):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"[i]{i}.png")
    code, out, err = unseen("fit", "odd", *PIXELS, "-d", "knn(k=1)", "--alpha", 0.1, "--cache", cache)
    assert (code, err) == (0, "")
    assert ":cat:, [red]a, b[bold]" in out
    code, out, err = unseen("score", "guard.unseen", "odd")
    assert (code, err) == (0, "")
    assert "/[i]" in out


@pytest.mark.parametrize("command", ["demo", "audit", "fit", "score", "encode", "list", "info"])
def test_help_teaches(unseen, command):
    code, out, _ = unseen(command, "--help")
    assert code == 0
    assert f"Example: unseen {command}" in out
    options = {
        "demo": "--json --seed --device --alpha",
        "audit": "--json --seed --device --limit --cache",
        "fit": "--json --seed --device --limit --alpha --cache --by-class",
        "score": "--json --seed --device --limit --alpha --cache --copy-unseen --discoveries",
        "encode": "--json --seed --device --limit --cache",
        "list": "--json",
        "info": "--json",
    }
    for option in options[command].split():
        assert option in out
    assert "\u2026" not in out, "a word was cut"


def test_version_and_nothing(unseen):
    assert unseen("--version")[:2] == (0, "unseen 0.1.0\n")
    code, out, _ = unseen()
    assert code == 2
    assert "unseen audit photos/" in out


# How they end


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["audit", "{known}", "--bogus"], "No such option: --bogus. See unseen audit --help"),
        (["audti", "{known}"], "Did you mean 'audit'?"),
        (["audit"], "Missing argument"),
        (["audit", "{known}", "--limit", "0"], "--limit"),
        (["audit", "{known}", "--detectors", "knnn"], "did you mean 'knn'"),
        (["audit", "{known}", "-e", "pixel"], "did you mean 'pixels'"),
        (["audit", "{known}", "--seed", "-1"], "seed=-1"),
        (["audit", "{known}", "--json", "{known}"], "is a folder"),
        (["audit", "{known}/zero"], "has no labels and an audit holds out classes"),
        (["audit", "{two}"], "has 2 classes and an audit needs 3"),
        (["fit", "{known}", "-d", "knnn", "-e", "pixels"], "did you mean 'knn'"),
        (["fit", "{known}", "-d", "energy >> knn", "-e", "pixels"], "steps come first"),
        (["fit", "{known}", "-d", "ridge", "-e", "pixels"], "is not a detector"),
        (["fit", "{known}", "--alpha", "1.5", "-e", "pixels"], "alpha=1.5: give the share"),
        (["fit", "{known}", "--calibration", "0", "-e", "pixels"], "calibration=0"),
        (["score", "{guard}", "{known}", "--alpha", "0"], "alpha must be within 0 and 1"),
        (["score", "{guard}", "{known}", "--discoveries", "1"], "discoveries must be within 0 and 1"),
        (["score", "{guard}", "{known}", "--alpha", "0.1", "--discoveries", "0.1"], "are two rules for one verdict"),
        (
            ["fit", "{known}/zero", "-e", "pixels", "--by-class"],
            "needs labels of two classes or more, and these inputs",
        ),
        (["score", "{guard}", "{known}", "-o", "scores.txt"], "must end in .csv or .jsonl"),
        (["encode", "{known}", "-o", "f.npy"], "must end in .npz"),
    ],
)
def test_wrong_use_is_2(unseen, digits, guard, words, says):
    for name in ("a", "b"):
        Path("two", name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(f"two/{name}/x.png")
    code, out, err = unseen(*[word.format(known=digits / "known", two="two", guard=guard) for word in words])
    assert (code, out) == (2, "")
    assert says in one_line(err)
    if words[0] == "audit" and ("has" in says):
        assert "`fit` works" in err


def test_bad_input_is_3(unseen, digits, guard, cache):
    Path("empty").mkdir()
    Path("empty/notes.txt").write_text("no image")
    for words, says in [
        (("audit", "nowhere"), "no such file or folder"),
        (("audit", "empty"), "no images"),
        (("info", "nowhere"), "there is no such file"),
        (("score", guard, "empty"), "no images"),
        (("fit", digits / "known", *PIXELS, "--alpha", 0.001, "--cache", cache), "needs 999 known inputs"),
        (("fit", digits / "known", *PIXELS, "-d", "knn", "--alpha", 0.001, "--cache", cache), "needs 999 known inputs"),
        (("score", guard, digits / "new", "--alpha", 0.001), "needs 999 calibration"),
        (("fit", digits / "known", *PIXELS, "-d", "knn(k=1)", "--cache", guard), "cache must be a folder"),
    ]:
        code, _, err = unseen(*words)
        assert code == 3, (words, err)
        assert says in one_line(err)


def test_an_empty_folder_is_3(unseen):
    Path("empty").mkdir()
    code, _, err = unseen("audit", "empty")
    assert code == 3, err
    assert "no images" in one_line(err)


def test_skipped_inputs_are_3_only_when_asked(unseen, digits, guard):
    Path("new/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save("new/a/good.png")
    Path("new/a/bad.png").write_bytes(b"not an image")
    code, out, _ = unseen("score", guard, "new")
    assert code == 0
    assert "Skipped a/bad.png" in out
    assert "1 input was skipped" in out
    code, out, err = unseen("score", guard, "new", "--strict", "--json", "-")
    assert code == 3
    assert json.loads(out)["skipped"][0]["path"] == "a/bad.png"
    assert "--strict" in one_line(err)


@pytest.mark.parametrize("detector", ["auto", "knn(k=1)"])
def test_fit_names_what_it_skipped(unseen, digits, detector):
    shutil.copytree(digits / "known", "photos")
    bad = Path("photos", sorted(path.name for path in Path("photos").iterdir())[0], "bad.png")
    bad.write_bytes(b"not an image")
    words = ("fit", "photos", "-e", "pixels?size=8", "-d", detector, "--json", "fit.json")
    code, out, err = unseen(*words)
    assert code == 0, err
    assert f"Skipped {bad.parent.name}/bad.png" in out
    assert json.loads(Path("fit.json").read_text())["skipped"][0]["path"] == f"{bad.parent.name}/bad.png"
    assert unseen(*words, "--strict")[0] == 3


def test_a_damaged_guard_is_4(unseen, guard, digits):
    content = guard.read_bytes()
    for name, damaged in (("short", content[:-9]), ("flip", content[:-9] + b"\xff" + content[-8:]), ("text", b"x")):
        Path(name).write_bytes(damaged)
        for words in (("info", name), ("score", name, digits / "new")):
            code, out, err = unseen(*words)
            assert (code, out) == (4, "")
            one_line(err)


def test_a_missing_extra_is_5(python, digits):
    code = f"""
import sys
sys.modules["timm"] = None
sys.argv = ["unseen", "encode", {str(digits / "known")!r}, "-e", "packaged", "--limit", "2"]
from unseen.__main__ import main
main()
"""
    done = python(code)
    assert done.returncode == 5
    assert "pip install 'unseen[" in one_line(done.stderr)


def test_a_full_disk_is_6(python, digits, tmp_path):
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
sys.argv = ["unseen", "encode", {str(digits / "known")!r}, "-e", "pixels?size=8", "--cache", {str(tmp_path)!r}]
from unseen.__main__ import main
main()
"""
    done = python(code)
    assert done.returncode == 6
    assert "no space left" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 6, "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 6, "out of memory"),
        (OSError(28, "No space left on device"), 6, "no space left"),
        (KeyboardInterrupt(), 130, "interrupted; what is encoded stays"),
    ],
)
def test_other_ends(unseen, digits, monkeypatch, error, code, says):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("unseen.api.encode", fail)
    ended, _, err = unseen("encode", digits / "known")
    assert ended == code
    assert says in one_line(err)


def test_a_defect_of_ours_is_1_and_keeps_its_traceback(unseen, digits, monkeypatch):
    monkeypatch.setattr("unseen.api.encode", lambda *_, **__: 1 / 0)
    code, _, err = unseen("encode", digits / "known")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert err.splitlines()[-1] == "unseen: this is a defect of unseen, please report it with the lines above"


def test_ctrl_c(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(600):
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    code = f"""
import sys, time
from unseen.encoders.pixels import Pixels
from unseen.__main__ import main
answer = Pixels.answer
Pixels.answer = lambda *a: (time.sleep(0.1), answer(*a))[1]
sys.argv = ["unseen", "encode", {str(tmp_path / "images")!r}, "-e", "pixels", "--cache", {str(tmp_path / "cache")!r}]
main()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list((tmp_path / "cache").rglob("*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err == "unseen: interrupted; what is encoded stays, the same command goes on from there\n"
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_progress_in_a_log(unseen, digits, monkeypatch, cache):
    monkeypatch.setattr("unseen.cli.screen.DELAY", 0)
    monkeypatch.setattr("unseen.cli.screen.EVERY", 0)
    words = ("audit", digits / "known", *PIXELS, "--cache", cache, "--repeats", 1, "--detectors", "knn", "--json", "-")
    _, out, err = unseen(*words)
    assert json.loads(out)
    assert "holding out classes: 5 of 5, 0 s left" in err
