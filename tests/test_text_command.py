"""``unseen text`` and its verb: what is written, what a person is shown, and what cannot be asked."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

import unseen as library
from unseen import TextBank, Texts
from unseen.cli.text import text as command
from unseen.encoders import Encoder
from unseen.errors import WrongUse

NAMES = "golden retriever,ox,crane"


class Reader(Encoder):
    """Reads texts: a direction for each word, and one that all texts share."""

    scale = 100.0
    reads_text = True
    provides = frozenset({"embedding"})
    id = "reader:1"

    def __init__(self):
        self.asked = []

    def text(self, texts):
        self.asked += texts
        return torch.tensor(np.stack([self._row(text) for text in texts]), dtype=torch.float32).reshape(len(texts), 24)

    @staticmethod
    def _row(text):
        seeds = [int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) for word in text.split()]
        return sum(np.random.default_rng(seed).normal(size=24) for seed in seeds) + 0.5


@pytest.fixture
def reader(monkeypatch):
    """What ``-e reader`` opens."""
    from unseen.encoders import open_encoder

    made = Reader()
    find = lambda given, device=None: made if given == "reader" else open_encoder(given, device)  # noqa: E731
    monkeypatch.setattr("unseen.api.text.open_encoder", find)
    return made


@pytest.fixture
def run(monkeypatch, unseen, reader, tmp_path):
    """``unseen text`` with these words, in a program that has no other command."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    app.command("text")(command)
    monkeypatch.setattr("unseen.cli.app", app)
    (tmp_path / "nouns.txt").write_text("\n".join(["crane", "", *(f"thing{i}" for i in range(39)), "thing0"]))
    (tmp_path / "adjectives.txt").write_text("\n".join(f"kind{i}" for i in range(20)))
    return lambda *given: unseen("text", *given, "-o", "bank.safetensors", "--cache", "store")


def test_names_with_commas(run, reader):
    code, out, err = run(NAMES, "-e", "reader")
    assert (code, err) == (0, "")
    bank = TextBank.load("bank.safetensors")
    assert (bank.classes, bank.words, bank.scale) == (("golden retriever", "ox", "crane"), (), 100.0)
    assert bank.encoder == reader.id
    assert len(reader.asked) == 15
    said = " ".join(out.split())
    assert "classes 3: golden retriever, ox, crane" in said
    assert "prompts 5, norm-mean-norm: a photo of a {}. ..." in said
    assert "Texts: bank.safetensors" in out
    run(NAMES, "-e", "reader")
    assert len(reader.asked) == 15  # the store had them all


def test_mined_words_are_shown_to_a_person(run):
    words = ("--words", "nouns.txt", "--negatives", "adjectives.txt")
    code, out, err = run(NAMES, "-e", "reader", *words, "--prompts", "mcm", "--json", "found.json")
    assert (code, err) == (0, "")
    assert all(len(line) <= 80 for line in out.splitlines())
    said = " ".join(out.split())
    assert "6 of 40 nouns, 3 of 20 adjectives by neglabel; left out: 1 blank, 1 repeated" in said
    found = json.loads(Path("found.json").read_text())
    bank = TextBank.load("bank.safetensors")
    assert [row["word"] for row in found["words"]] == list(bank.words)
    assert found["about"]["kept"] == {"noun": 6, "adjective": 3}
    cosines = bank.negative @ bank.positive.T
    for row, expected in zip(found["words"], cosines, strict=True):
        assert row["cosine"] == pytest.approx(expected.max().item(), abs=1e-6)
        assert row["class"] == bank.classes[int(expected.argmax())]
    first, closest = out.split("Most unlike the classes")[1].split("Closest to a class")
    assert [line.split()[0] for line in first.splitlines() if "0." in line] == list(bank.words)
    order = sorted(found["words"], key=lambda row: -row["cosine"])
    assert [line.split()[0] for line in closest.splitlines() if "0." in line] == [row["word"] for row in order]


def test_json_alone_goes_to_standard_output(run):
    code, out, _ = run(NAMES, "-e", "reader", "--json", "-", "--opposite", "no")
    assert code == 0
    found = json.loads(out)
    assert (found["classes"], found["words"], found["opposite"]) == (NAMES.split(","), [], True)
    assert found["file"] == "bank.safetensors"


def test_every_option_reaches_the_bank(run, tmp_path):
    (tmp_path / "own.txt").write_text("so {}\nthe {c}\n")
    base = (NAMES, "-e", "reader", "--words", "nouns.txt", "--words", "adjectives.txt")
    seen = {}
    options = {
        "": (),
        "prompts": ("--prompts", "own.txt"),
        "order": ("--prompts", "plp", "--order", "mean-norm"),
        "csp": ("--mine", "csp"),
        "all": ("--mine", "all"),
        "random": ("--mine", "random"),
        "seed": ("--mine", "random", "--seed", "1"),
        "fraction": ("--fraction", "0.5"),
        "count": ("--count", "7"),
        "quantile": ("--quantile", "0.1"),
        "distinct": ("--fraction", "1", "--distinct"),
        "whole": ("--fraction", "1"),
        "word prompts": ("--word-prompts", "name"),
        "adjective prompts": ("--adjective-prompts", "own.txt"),
        "opposite": ("--opposite", "a photo without {}"),
    }
    for name, given in options.items():
        assert run(*base, *given)[0] == 0
        seen[name] = TextBank.load("bank.safetensors").id
    assert seen["whole"] == seen["all"]
    assert len(set(seen.values())) == len(options) - 1
    for clean, called in (((), "sea_lion"), (("--clean",), "sea lion")):
        run("sea_lion,ox", "-e", "reader", *clean)
        assert TextBank.load("bank.safetensors").about["called"] == ({"sea_lion": called} if clean else {})


def test_classes_from_folders_and_files(run, tmp_path):
    for name in ("ox", "crane"):
        (tmp_path / "known" / name).mkdir(parents=True)
    assert run("known", "-e", "reader")[0] == 0
    assert TextBank.load("bank.safetensors").classes == ("crane", "ox")
    (tmp_path / "names.tsv").write_text("n1\tcrane\nn2\tcrane\nox\n")
    code, out, _ = run("names.tsv", "-e", "reader")
    assert code == 0
    assert "Note: the classes n1, n2 are all called 'crane', so no text tells them apart" in " ".join(out.split())


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("ox", "-e", "pixels"), 2, "the encoder pixels reads no texts"),
        (("ox", "-e", "reader", "--mine", "csp"), 2, "--mine csp has no words to choose from"),
        (("ox", "-e", "reader", "--count", "3"), 2, "count is of words, and there are none"),
        (("ox", "-e", "reader", "--prompts", "plq"), 2, "neither registered"),
        (("none.txt", "-e", "reader"), 3, "none.txt: there is no such file"),
        (("ox,ox", "-e", "reader"), 3, "class 'ox' is named twice"),
        (("ox", "-e", "reader", "--words", "none.txt"), 3, "none.txt: there is no such file"),
        (("ox",), 2, "Missing option"),
    ],
)
def test_what_cannot_be_asked(run, given, code, message):
    found, out, err = run(*given)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("bank.safetensors").exists()


def test_the_file_has_its_suffix(unseen, run, tmp_path):
    found, _, err = unseen("text", "ox", "-e", "reader", "-o", "bank.npz")
    assert found == 2
    assert "must end in .safetensors" in err


def test_the_verb_reports_all_texts_at_once(reader, tmp_path):
    told = []
    wanted = Texts(negatives=[f"thing{i}" for i in range(20)], opposite="no")
    bank = library.text(["ox", "crane"], reader, wanted, cache=False, progress=lambda *at: told.append(at))
    assert len(bank.words) == 3
    assert {what for what, _, _ in told} == {"reading texts"}
    assert told[-1] == ("reading texts", 2 * 5 + 20 * 5 + 2 * 4, 118)
    done = [at for _, at, _ in told]
    assert done == sorted(done)
    assert {whole for _, _, whole in told} == {118}
    with pytest.raises(WrongUse, match="the encoder pixels reads no texts"):
        library.text(["ox"], "pixels")


@pytest.mark.slow
def test_with_a_real_text_side(tmp_path):
    """A small CLIP with random weights: the file is that of the encoder that reads the images."""
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("open_clip is not installed")
    spec = importlib.util.spec_from_file_location("_tiny", Path(__file__).parent / "encoders" / "_tiny.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    from unseen.encoders import open_encoder

    encoder = open_encoder(tiny.tiny_open_clip(tmp_path / "clip"))
    bank = library.text("cat,dog", encoder, Texts(prompts="mcm"), cache=tmp_path / "store")
    expected = torch.nn.functional.normalize(encoder.text(["a photo of a cat", "a photo of a dog"]), dim=1)
    torch.testing.assert_close(bank.positive, expected)
    assert (bank.encoder, bank.scale) == (encoder.id, encoder.scale)
