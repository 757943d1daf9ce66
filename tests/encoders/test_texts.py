"""Texts are encoded once, one by one, and kept beside the signals of their encoder."""

import numpy as np
import pytest
import torch

from unseen.encoders import Encoder, embed_texts, encode, open_encoder
from unseen.encoders._texts import SEGMENT
from unseen.errors import BadInput, WrongUse
from unseen.signals import clear, shelves


class Words(Encoder):
    """Counts letters, and keeps what it was asked."""

    def __init__(self, name="words:1"):
        self.asked = []
        self._id = name

    @property
    def id(self):
        return self._id

    @property
    def reads_text(self):
        return True

    def text(self, texts):
        self.asked.append(list(texts))
        return torch.tensor([[len(text), text.count("a"), 0.5] for text in texts]).reshape(-1, 3)


def test_a_list_in_its_order_with_each_text_once():
    words = Words()
    found = embed_texts(words, ["banana", "a", "banana", ""], cache=False)
    assert found.tolist() == [[6, 3, 0.5], [1, 1, 0.5], [6, 3, 0.5], [0, 0, 0.5]]
    assert found.dtype == np.float32
    assert words.asked == [["banana", "a", ""]]
    assert embed_texts(words, [], cache=False).shape == (0, 3)


def test_one_more_word_encodes_one_word(tmp_path):
    words = Words()
    first = embed_texts(words, ["cat", "dog"], cache=tmp_path)
    words.asked.clear()
    again = embed_texts(words, ["dog", "cat", "llama"], cache=tmp_path)
    assert words.asked == [["llama"]]
    np.testing.assert_array_equal(again[[1, 0]], first)
    words.asked.clear()
    np.testing.assert_array_equal(embed_texts(words, ["llama", "cat"], cache=tmp_path), again[[2, 1]])
    assert words.asked == []
    embed_texts(Words("words:2"), ["cat"], cache=tmp_path)
    other = Words("words:2")
    embed_texts(other, ["dog"], cache=tmp_path)
    assert other.asked == [["dog"]], "another encoder's answers are not taken"


def test_nothing_is_kept_where_nothing_shall_be(tmp_path, monkeypatch):
    monkeypatch.setattr("unseen.encoders._encode.default_cache", lambda: tmp_path)
    words = Words()
    embed_texts(words, ["cat"], cache=False)
    assert not list(tmp_path.iterdir())
    embed_texts(words, ["cat"])
    assert list(tmp_path.iterdir())
    embed_texts(words, ["cat"])
    assert len(words.asked) == 2
    embed_texts(words, ["cat"], cache=False)
    assert len(words.asked) == 3


def test_odd_texts(tmp_path):
    odd = ["ä", "a\u0308", "\udcff", "a\0", "a", "two\nlines", " a", "a "]
    found = embed_texts(Words(), odd, cache=tmp_path)
    words = Words()
    np.testing.assert_array_equal(embed_texts(words, odd, cache=tmp_path), found)
    assert words.asked == []


def test_a_killed_run_goes_on(tmp_path):
    class Killed(Words):
        def text(self, texts):
            if self.asked:
                raise KeyboardInterrupt
            return super().text(texts)

    many = [f"word {number}" for number in range(SEGMENT + 5)]
    with pytest.raises(KeyboardInterrupt):
        embed_texts(Killed(), many, cache=tmp_path)
    words = Words()
    found = embed_texts(words, many, cache=tmp_path)
    assert words.asked == [many[SEGMENT:]]
    np.testing.assert_array_equal(found, embed_texts(Words(), many, cache=False))


@pytest.mark.parametrize("name", ["text.npy", "text_keys.npy", "text.json", "text_keys.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "altered"])
def test_damaged_shards_are_made_again(tmp_path, name, damage):
    found = embed_texts(Words(), ["cat", "llama"], cache=tmp_path)
    (path,) = tmp_path.rglob(name)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    words = Words()
    np.testing.assert_array_equal(embed_texts(words, ["cat", "llama"], cache=tmp_path), found)
    # A byte of white space in a JSON may change without a change of meaning.
    assert words.asked in ([["cat", "llama"]], []) if name.endswith("json") else words.asked == [["cat", "llama"]]
    words.asked.clear()
    embed_texts(words, ["cat", "llama"], cache=tmp_path)
    assert words.asked == []


def test_progress(tmp_path):
    seen = []
    embed_texts(Words(), ["cat"], cache=tmp_path)
    embed_texts(Words(), ["cat", "dog", "dog"], cache=tmp_path, progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]


def test_the_store_lists_and_clears_them(tmp_path):
    embed_texts(Words(), ["cat", "dog"], cache=tmp_path)
    (shelf,) = shelves(tmp_path)
    assert shelf.encoder.startswith("words:1")
    assert shelf.inputs == 2
    assert shelf.size == sum(path.stat().st_size for path in tmp_path.rglob("*.*"))
    assert clear(tmp_path) == [shelf]
    assert not list(tmp_path.iterdir())
    words = Words()
    embed_texts(words, ["cat"], cache=tmp_path)
    assert words.asked == [["cat"]]


def test_misuse(tmp_path):
    for wrong in ("cat", ["cat", 3], [b"cat"]):
        with pytest.raises(WrongUse, match="embed_texts takes a list of texts"):
            embed_texts(Words(), wrong, cache=False)
    with pytest.raises(WrongUse, match="the encoder pixels has no text side: use one of images and texts, clip:MODEL"):
        embed_texts("pixels?size=4", ["cat"], cache=False)
    assert not open_encoder("pixels?size=4").reads_text
    assert open_encoder("pixels?size=4").scale is None

    class Broken(Words):
        def text(self, texts):
            return super().text(texts) * torch.tensor([float("nan") if "b" in text else 1 for text in texts])[:, None]

    with pytest.raises(BadInput, match="the output for the text 'bat' is not finite"):
        embed_texts(Broken(), ["cat", "bat"], cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_of_images_and_texts(tmp_path):
    pytest.importorskip("tokenizers")
    from ._tiny import tiny_hf_siglip

    encoder = open_encoder(tiny_hf_siglip(tmp_path / "model"))
    texts = ["a photo of a cat", "a red dog", "a photo of a cat"]
    found = embed_texts(encoder, texts, cache=tmp_path / "store")
    np.testing.assert_array_equal(found, encoder.text(texts).numpy())
    images = {"images": np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)}
    encode(images, encoder, cache=tmp_path / "store")
    (shelf,) = shelves(tmp_path / "store")
    assert shelf.signals == ("embedding", "features", "text", "text_keys"), "signals and texts of one encoder"
    # What a saved guard holds reads no texts, and needs none that the store knows.
    again = type(encoder).restore(encoder.describe(), encoder.state())
    np.testing.assert_array_equal(embed_texts(again, texts, cache=tmp_path / "store"), found)
    with pytest.raises(WrongUse, match="holds its image side alone"):
        embed_texts(again, [*texts, "a blue tree"], cache=tmp_path / "store")
