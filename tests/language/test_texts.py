"""From names and words to a text bank: every option, what `about` says of it, and real texts of CLIP."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
import torch

from unseen import TextBank, Texts
from unseen.errors import BadInput, WrongUse
from unseen.language import PROMPTS, Words, prototypes, read_words, statistic
from unseen.language.texts import CSP_DROPS, SUPERCLASSES

NAMES = ["golden_retriever", "ox", "crane"]


def embed(texts):
    """Rows that have something in common, and share more where they share words."""

    def row(word):
        seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
        return np.random.default_rng(seed).normal(size=24)

    return np.stack([sum(row(word) for word in text.split()) + 0.5 for text in texts]).astype("float32")


@pytest.fixture
def lists(tmp_path):
    """WordNet-like lists: nouns with categories, adjectives."""
    nouns = [f"thing_{i}\tnoun.artifact" for i in range(40)] + ["king\tnoun.person", "crane\tnoun.animal"]
    (tmp_path / "nouns.tsv").write_text("\n".join([*nouns, "golden eagle\tnoun.animal"]))
    (tmp_path / "adjectives.txt").write_text("\n".join(f"kind{i}" for i in range(20)))
    return [tmp_path / "nouns.tsv", tmp_path / "adjectives.txt"]


def test_names_alone():
    bank = Texts().bank(NAMES, embed, scale=100.0, encoder="stub")
    assert isinstance(bank, TextBank)
    torch.testing.assert_close(bank.positive, prototypes(NAMES, embed, "plp"))
    assert (bank.classes, bank.words, bank.opposite) == (tuple(NAMES), (), None)
    assert (bank.scale, bank.encoder) == (100.0, "stub")
    assert bank.about["prompts"] == list(PROMPTS["plp"])
    assert "mine" not in bank.about


def test_prompts_and_order_reach_the_rows():
    rows = [Texts(prompts=p, order=o).bank(NAMES, embed).positive for p in ("plp", "mcm", "csp")
            for o in ("norm-mean-norm", "mean-norm")]  # fmt: skip
    assert not torch.equal(rows[0], rows[2])
    assert torch.allclose(rows[2], rows[3], atol=1e-6)  # one prompt
    assert not torch.allclose(rows[4], rows[5], atol=1e-5)


def test_each_kind_of_word_has_its_prompts(lists):
    asked = Counter()

    def count(texts):
        asked.update(texts)
        return embed(texts)

    bank = Texts(prompts="neglabel", negatives=lists).bank(NAMES, count)
    assert asked["the nice thing_0"] == asked["This is a kind0 photo"] == asked["the nice ox"] == 1
    assert asked["the nice kind0"] == 0
    assert len(asked) == 3 + 43 + 20 - 1  # "crane" is a name and a word
    assert bank.about["word_prompts"] == {"noun": ["the nice {}"], "adjective": ["This is a {} photo"]}
    asked.clear()
    Texts(prompts="plp", word_prompts="name", adjective_prompts="so {}", negatives=lists).bank(NAMES, count)
    assert asked["thing_0"] == asked["so kind0"] == asked["a photo of a ox."] == 1


def test_mined_as_neglabel(lists):
    bank = Texts(negatives=lists).bank(NAMES, embed)
    assert bank.about["candidates"] == {"noun": 43, "adjective": 20}
    assert bank.about["kept"] == {"noun": 6, "adjective": 3}  # floor(.15 * 43), and 3
    assert bank.about["share"] == {"fraction": 0.15}
    assert bank.about["sources"] == ["adjectives.txt", "nouns.tsv"]
    assert bank.about["words"] == read_words(*lists).id
    assert torch.equal(bank.statistic, bank.statistic.sort().values)
    torch.testing.assert_close(statistic(bank.negative, bank.positive).float(), bank.statistic)
    json.dumps(bank.about)


def test_the_bank_is_the_same_for_lists_in_any_order(lists, tmp_path):
    before = Texts(negatives=lists, mine="csp").bank(NAMES, embed)
    (tmp_path / "other").mkdir()
    turned = []
    for file in lists[::-1]:
        turned.append(tmp_path / "other" / file.name)
        turned[-1].write_text("\n".join(file.read_text().splitlines()[::-1]))
    after = Texts(negatives=turned, mine="csp").bank(NAMES, embed)
    assert after.id == before.id
    assert after.about == before.about


def test_a_bank_survives_its_file(lists, tmp_path):
    bank = Texts(negatives=lists, mine="csp", opposite="no").bank(NAMES, embed, 100.0, "stub")
    read = TextBank.load(bank.save(tmp_path / "bank.safetensors"))
    assert (read.id, read.about) == (bank.id, bank.about)
    assert torch.equal(read.statistic, bank.statistic)


def test_csp_writes_phrases(lists):
    words = Texts(negatives=lists, mine="csp").candidates(NAMES)
    assert "thing 0" in words.words
    assert "king" not in words.words
    phrases = [word.split(" ", 1) for word, kind in zip(words.words, words.kinds, strict=True) if kind == "adjective"]
    assert len(phrases) == 20
    assert {noun for _, noun in phrases} <= set(SUPERCLASSES)
    assert len({noun for _, noun in phrases}) > 3
    # What an adjective gets depends on the seed and on itself alone.
    few = Texts(negatives=Words.collect([("kind7", "adjective", "")]), mine="csp").candidates(NAMES)
    assert few.words == tuple(" ".join(pair) for pair in phrases if pair[0] == "kind7")
    other = Texts(negatives=lists, mine="csp", seed=1).candidates(NAMES)
    assert other.words != words.words
    assert len(CSP_DROPS) == 4
    assert len(set(SUPERCLASSES)) == 14


def test_csp_never_keeps_a_class_name_and_neglabel_says_when_it_does(lists):
    options = {"prompts": "name", "negatives": lists, "fraction": 1.0}
    mined = Texts(**options, mine="csp").bank(NAMES, embed)
    assert "crane" not in mined.words
    assert mined.about["near"] == 1
    assert mined.about["notes"] == []
    kept = Texts(**options).bank(NAMES, embed)
    assert "crane" in kept.words
    assert kept.about["notes"] == [
        "1 of the words are class names (crane): mine with csp, or leave them out with distinct"
    ]


def test_distinct_leaves_out_what_shares_a_part(lists):
    words = Texts(negatives=lists, distinct=True).candidates(NAMES)
    assert {"crane", "golden eagle"}.isdisjoint(words.words)
    assert words.dropped["sharing a part with a class name"] == 2
    with pytest.raises(BadInput, match="no word is left to mine from"):
        Texts(negatives=["golden eagle"], distinct=True).bank(NAMES, embed)


def test_clean_reads_underscores_as_spaces(lists):
    asked = []
    bank = Texts(clean=True, prompts="name", negatives=[*["sea_lion", "sea lion", "elk"]], fraction=1.0).bank(
        NAMES, lambda texts: asked.extend(texts) or embed(texts)
    )
    assert asked == ["golden retriever", "ox", "crane", "elk", "sea lion"]
    assert bank.classes[0] == "golden_retriever"
    assert bank.about["called"] == {"golden_retriever": "golden retriever"}
    assert bank.about["dropped"] == {"repeated": 1}


def test_classes_that_are_called_the_same_share_a_row():
    bank = Texts({"n1": "crane", "ox": "ox", "n2": "crane"}).bank(None, embed)
    assert bank.classes == ("n1", "ox", "n2")
    assert torch.equal(bank.positive[0], bank.positive[2])
    assert bank.about["notes"] == ["the classes n1, n2 are all called 'crane', so no text tells them apart"]
    with pytest.raises(BadInput, match="class 'crane' is named twice"):
        Texts().bank(["crane", "crane"], embed)
    with pytest.raises(WrongUse, match="nobody names the classes"):
        Texts().bank(None, embed)


def test_opposite_texts():
    bank = Texts(opposite=["a photo without {}", "no {}"]).bank(NAMES, embed)
    torch.testing.assert_close(bank.opposite, prototypes(NAMES, embed, ["a photo without {}", "no {}"]))
    assert bank.about["opposite_prompts"] == ["a photo without {}", "no {}"]
    assert Texts(opposite="no").bank(NAMES, embed).about["opposite_prompts"] == list(PROMPTS["no"])


def test_words_taken_whole(tmp_path):
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps(["1. wolf\n2. Golden eagle.", "elk", "Wolf"]))
    bank = Texts(negatives=file, mine="all").bank(NAMES, embed)
    assert set(bank.words) == {"wolf", "Golden eagle", "elk"}
    assert bank.about["kept"] == {"noun": 3}
    assert bank.about["sources"] == ["recorded.json"]
    assert bank.statistic is not None
    near = Texts(negatives=str(file), mine="all", distinct=True).bank(NAMES, embed)
    assert set(near.words) == {"wolf", "elk"}
    assert set(Texts(negatives=file, mine="all", count=2).bank(NAMES, embed).words) == {"wolf", "Golden eagle"}
    (tmp_path / "listed.txt").write_text("3. zebra\n4. ant\n")
    assert Texts(negatives=[tmp_path / "listed.txt"], mine="all", count=1).bank(NAMES, embed).words == ("zebra",)
    assert Texts(negatives=["zebra", "ant"], mine="all", count=1).bank(NAMES, embed).words == ("zebra",)
    asked = []
    Texts(negatives=lambda names, count: asked.append((list(names), count)) or ["a", "b"], mine="all", count=2).bank(
        NAMES, embed
    )
    assert asked == [(NAMES, 2)]


def test_controls(lists):
    low, high, drawn, other = (
        Texts(negatives=lists, mine=rule, fraction=0.3, seed=seed).bank(NAMES, embed)
        for rule, seed in (("neglabel", 0), ("nearest", 0), ("random", 0), ("random", 1))
    )
    assert low.statistic.mean() < drawn.statistic.mean() < high.statistic.mean()
    assert set(drawn.words) != set(other.words)
    assert drawn.about["seed"] == 0


@pytest.mark.parametrize("option", [{"quantile": 0.2}, {"interpolation": "floor"}, {"count": 20}, {"fraction": 0.4}])
def test_options_of_mining_reach_the_bank(lists, option):
    names = [f"thing{i}" for i in range(9)]
    plain, changed = (Texts(negatives=lists, **given).bank(names, embed) for given in ({}, option))
    assert plain.id != changed.id or not torch.equal(plain.statistic, changed.statistic)
    ((name, value),) = option.items()
    assert {**changed.about, **changed.about["share"]}[name] == value


def test_progress_counts_all_texts(lists):
    told = []
    Texts(negatives=lists, opposite="no").bank(NAMES, embed, progress=lambda *at: told.append(at))
    assert told[-1] == (3 * 5 + 43 * 5 + 20 + 3 * 4,) * 2
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompts": "plq"}, "neither registered"),
        ({"order": "mean"}, "choose one of norm-mean-norm, mean-norm"),
        ({"mine": "mcm"}, "no rule of mining is called 'mcm'"),
        ({"quantile": -0.1}, "a quantile lies from 0 to 1"),
        ({"fraction": 0.1}, "fraction is of words, and there are none"),
        ({"distinct": True}, "distinct is of words, and there are none"),
        ({"opposite": "never"}, "neither registered"),
        ({"negatives": ["a"], "fraction": 0.1, "count": 1}, "not both"),
        ({"negatives": ["a"], "mine": "all", "fraction": 0.1}, "leave out the fraction"),
    ],
)
def test_wrong_use_is_said_before_a_text_is_read(given, message):
    with pytest.raises(WrongUse, match=message):
        Texts(**given)


def test_lists_that_cannot_be_told_apart(tmp_path):
    with pytest.raises(WrongUse, match="not both in one list"):
        Texts(negatives=["elk", tmp_path / "words.txt"]).bank(NAMES, embed)
    with pytest.raises(WrongUse, match="a record is given alone"):
        Texts(negatives=[tmp_path / "a.json", tmp_path / "words.txt"]).bank(NAMES, embed)
    with pytest.raises(WrongUse, match="these come in no order: leave out the count"):
        Texts(negatives=Words.of(["a", "b"]), mine="all", count=1).bank(NAMES, embed)
    with pytest.raises(BadInput, match=r"no_such\.txt: there is no such file"):
        Texts(negatives="no_such.txt").bank(NAMES, embed)


@pytest.fixture(scope="module")
def clip(test_data):
    """COCO's names as known ones, those of three other sets as candidates, as CLIP ViT-B/32 reads "a <name>"."""
    with np.load(test_data / "clip_vitb32.npz") as file:
        rows, words = [], []
        for name in ("lvis", "oid", "o365"):
            rows.append(file[name].astype("float32"))
            words += [word.decode().replace("_", " ").lower() for word in file[f"{name}_name"]]
        names = [name.decode() for name in file["coco_name"]]
        known = dict(zip(names, file["coco"].astype("float32"), strict=True))
    read = dict(zip(words, np.concatenate(rows), strict=True))

    def embed(texts):
        # A name that two lists share has a row in each, and they are not the same bits.
        rows = {"a": known, "the": read}
        return np.stack([rows[article][name] for article, name in (text.split(" ", 1) for text in texts)])

    return list(known), read, embed


def test_words_that_clip_finds_unlike_the_classes(clip):
    known, read, embed = clip
    bank = Texts(prompts="a {}", word_prompts="the {}", negatives=list(read)).bank(known, embed)
    positive = prototypes(known, embed, "a {}")
    rest = sorted(set(read) - set(bank.words))
    others = np.quantile(prototypes(rest, embed, "the {}") @ positive.T, 0.95, axis=1)
    ours = np.quantile(bank.negative @ positive.T, 0.95, axis=1)
    assert ours.max() <= others.min() + 1e-6
    assert len(bank.words) == int(0.15 * len({word.casefold() for word in read}))


def test_names_that_the_lists_share_are_not_mined_by_csp(clip):
    known, read, embed = clip
    shared = set(known) & set(read)
    assert len(shared) > 50
    everything = {"prompts": "a {}", "word_prompts": "the {}", "negatives": list(read), "fraction": 1.0}
    assert shared <= set(Texts(**everything).bank(known, embed).words)
    bank = Texts(**everything, mine="csp").bank(known, embed)
    assert shared.isdisjoint(bank.words)
    assert bank.about["near"] >= len(shared)
