"""The one loop over inputs: same bits however it came about, nothing made twice, every skipped file named."""

import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unseen.data import open_inputs
from unseen.encoders import Encoder, encode
from unseen.encoders._encode import BATCH, SHARD
from unseen.encoders.pixels import Pixels
from unseen.encoders.torch import Torch
from unseen.errors import BadInput, WrongUse
from unseen.signals import LayerStatistics, Perturbed


def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 24, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, 5),
        )


class Counting(Torch):
    """The encoder under test, with a count of what it was asked."""

    def __init__(self, **arguments):
        super().__init__(network(), size=16, **arguments)
        self.asked = []

    def answer(self, batch, wanted):
        self.asked.append((len(batch), wanted))
        return super().answer(batch, wanted)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (SHARD + 70, 20, 20, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 40 images, sorted by key."""
    random = np.random.default_rng(1)
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(40):
            Image.fromarray(random.integers(0, 256, (18, 22, 3), dtype=np.uint8)).save(root / name / f"{number:02}.png")
    return root


class Told(list):
    """What progress was told."""

    def add(self, done, total):
        self.append((done, total))


def values(support, name="features"):
    return support.signals.gather(name).numpy()


def test_answers_are_those_of_the_network_in_order(pictures, tmp_path):
    encoder = Counting()
    support = encode({"images": pictures}, encoder, cache=tmp_path)
    size = [np.asarray(Image.fromarray(p).resize((16, 16), Image.Resampling.BILINEAR)) for p in pictures]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = (torch.from_numpy(np.stack(size)).permute(0, 3, 1, 2) / 255 - mean) / std
    net = network().eval()
    with torch.no_grad():
        features = net[:-1](x)
        logits = net[-1](features)
    np.testing.assert_allclose(values(support), features.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(values(support, "logits"), logits.numpy(), rtol=1e-4, atol=1e-6)
    assert {len_ for len_, _ in encoder.asked} == {BATCH}  # the last batch too: its shape decides the last bits
    assert list(support.keys) == [f"array[{i}]" for i in range(len(pictures))]
    assert support.encoder == encoder.id


def test_rows_are_bit_equal_whatever_else_is_encoded(pictures):
    encoder = Counting()
    whole = values(encode({"images": pictures}, encoder, cache=False))
    for rows in (np.arange(10), np.arange(SHARD + 1), np.random.default_rng(0).permutation(len(pictures))[:100]):
        part = open_inputs({"images": pictures}).take(rows)
        np.testing.assert_array_equal(values(encode(part, encoder, cache=False)), whole[rows])


def test_limited_and_grown_runs_are_bit_equal(folder, tmp_path):
    encoder, cache = Counting(), tmp_path / "cache"
    limited = encode(open_inputs(folder, limit=50), encoder, cache=cache)
    whole = encode(folder, encoder, cache=cache)
    row = {key: values(whole)[i] for i, key in enumerate(whole.keys)}
    np.testing.assert_array_equal(values(limited), np.stack([row[key] for key in limited.keys]))
    Image.fromarray(np.full((9, 9, 3), 7, np.uint8)).save(folder / "dog" / "zz.png")
    grown = encode(folder, encoder, cache=cache)
    np.testing.assert_array_equal(values(grown)[:80], values(whole))


def test_a_finished_shard_is_found_again_when_rows_are_appended(pictures, tmp_path):
    encoder = Counting()
    encode({"images": pictures[:SHARD]}, encoder, cache=tmp_path)
    assert len(encoder.asked) == SHARD // BATCH
    encode({"images": pictures}, encoder, cache=tmp_path)
    assert len(encoder.asked) == SHARD // BATCH + 3  # 70 rows


def test_threads_change_no_bit(pictures):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = values(encode({"images": pictures[:64]}, Counting(), cache=False))
        torch.set_num_threads(2)
        two = values(encode({"images": pictures[:64]}, Counting(), cache=False))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(one, two)


def test_the_second_call_computes_nothing(pictures, tmp_path):
    first, second = Counting(), Counting()
    one = encode({"images": pictures}, first, cache=tmp_path)
    two = encode({"images": pictures}, second, cache=tmp_path)
    assert len(first.asked) == -(-len(pictures) // BATCH)
    assert second.asked == []
    np.testing.assert_array_equal(values(one), values(two))


def test_another_signal_is_added_and_the_rest_is_kept(pictures, tmp_path):
    encoder, request = Counting(), LayerStatistics("3")
    encode({"images": pictures}, encoder, cache=tmp_path, wanted=["features"])
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("features.*")}
    encoder.asked.clear()
    support = encode({"images": pictures}, encoder, cache=tmp_path, wanted=["features", "logits", request])
    assert {wanted for _, wanted in encoder.asked} == {frozenset({"logits", request})}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("features.*")} == kept
    at_once = encode({"images": pictures}, encoder, cache=False, wanted=["features", "logits", request])
    for name in ("features", "logits", request.key):
        np.testing.assert_array_equal(values(support, name), values(at_once, name))


def test_only_the_harmed_shard_is_made_again(pictures, tmp_path):
    encoder = Counting()
    whole = values(encode({"images": pictures}, encoder, cache=tmp_path))
    arrays = sorted(tmp_path.rglob("features.npy"))
    assert len(arrays) == 2
    small = min(arrays, key=lambda path: path.stat().st_size)
    content = bytearray(small.read_bytes())
    content[-1] ^= 1
    small.write_bytes(bytes(content))
    encoder.asked.clear()
    again = values(encode({"images": pictures}, encoder, cache=tmp_path))
    assert encoder.asked == [(BATCH, frozenset({"features"}))] * 3
    np.testing.assert_array_equal(again, whole)


def test_other_weights_and_preprocessing_share_nothing(pictures, tmp_path):
    encode({"images": pictures[:5]}, Counting(), cache=tmp_path)
    for other in (Counting(mean=(0, 0, 0)), Counting(resize="crop")):
        encode({"images": pictures[:5]}, other, cache=tmp_path)
        assert len(other.asked) == 1


def test_without_a_cache_nothing_is_written(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("unseen.encoders._encode.default_cache", lambda: tmp_path / "default")
    encode({"images": pictures[:5]}, Counting(), cache=False)
    assert not (tmp_path / "default").exists()
    encode({"images": pictures[:5]}, Counting())
    assert list((tmp_path / "default").rglob("*.npy"))


def test_an_unreadable_file_keeps_its_slot(folder, tmp_path):
    encoder, cache = Counting(), tmp_path / "cache"
    whole = encode(folder, encoder, cache=cache)
    row = {key: values(whole)[i] for i, key in enumerate(whole.keys)}
    (folder / "cat" / "03.png").write_bytes((folder / "cat" / "03.png").read_bytes()[:200])
    (folder / "dog" / "11.png").write_bytes(b"")
    support = encode(folder, encoder, cache=cache)
    assert len(support) == 78
    assert support.skipped == (
        ("cat/03.png", support.skipped[0][1]),
        ("dog/11.png", "empty file"),
    )
    assert "truncated" in support.skipped[0][1]
    assert "cat/03.png" not in support.skipped[0][1]  # the name once, not twice
    assert list(support.keys) == [key for key in whole.keys if key not in ("cat/03.png", "dog/11.png")]
    np.testing.assert_array_equal(values(support), np.stack([row[key] for key in support.keys]))
    np.testing.assert_array_equal(support.labels, [0] * 39 + [1] * 39)
    encoder.asked.clear()
    again = encode(folder, encoder, cache=cache)
    assert encoder.asked == []
    assert again.skipped == support.skipped
    (stored,) = {p for p in cache.rglob("features.npy") if "empty file" in p.with_suffix(".json").read_text()}
    held = np.load(stored)
    assert len(held) == 80
    blank = encoder.answer(np.zeros((BATCH, 16, 16, 3), np.uint8), frozenset({"features"}))["features"][0]
    np.testing.assert_array_equal(held[3], blank)


def test_what_can_be_read_today_is_read(folder, tmp_path, monkeypatch):
    """A message that says "raise the limit of pixels" must be true on the next call, whatever the store holds."""
    encoder, cache = Counting(), tmp_path / "cache"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "cat" / "05.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    few = encode(folder, encoder, cache=cache, wanted=["features"])
    assert [key for key, _ in few.skipped] == ["cat/05.png"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    support = encode(folder, encoder, cache=cache)
    assert support.skipped == ()
    np.testing.assert_array_equal(values(support), values(encode(folder, encoder, cache=False)))


def test_a_row_unreadable_for_one_signal_is_skipped_for_all(folder, tmp_path, monkeypatch):
    encoder, cache = Counting(), tmp_path / "cache"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "cat" / "05.png")
    encode(folder, encoder, cache=cache, wanted=["features"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for _ in range(2):
        both = encode(folder, encoder, cache=cache)
        assert [key for key, _ in both.skipped] == ["cat/05.png"]
        assert len(both) == 79
    assert len(encode(folder, encoder, cache=cache, wanted=["features"])) == 80


def test_nothing_readable_names_the_first(tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(b"no picture")
    for _ in range(2):  # the second time from the store
        with pytest.raises(BadInput, match=rf"none of the 2 inputs of {tmp_path} can be read; a\.png: not an image$"):
            encode(tmp_path, "pixels", cache=tmp_path / "cache")


def test_copies_share_a_group_and_are_noted(folder):
    (folder / "cat" / "zz.png").write_bytes((folder / "cat" / "00.png").read_bytes())
    (folder / "dog" / "zz.png").write_bytes((folder / "cat" / "01.png").read_bytes())
    support = encode(folder, Pixels(4), cache=False)
    group = dict(zip(support.keys, support.groups.tolist(), strict=True))
    assert group["cat/zz.png"] == group["cat/00.png"]
    assert group["dog/zz.png"] == group["cat/01.png"]
    assert len(set(group.values())) == 80
    notes = " | ".join(support.notes)
    assert "2 rows repeat an earlier row" in notes
    assert "kept on one side of every split" in notes
    assert "1 exact duplicate across classes, such as cat/01.png = dog/zz.png" in notes


def test_damaged_copies_are_not_called_copies(folder):
    for name in ("x.png", "y.png"):
        (folder / "cat" / name).write_bytes(b"no picture")
    support = encode(folder, Pixels(4), cache=False)
    assert [key for key, _ in support.skipped] == ["cat/x.png", "cat/y.png"]
    assert support.notes == ()


@pytest.mark.parametrize("cache", [True, False])
def test_progress_rises_to_the_total(pictures, tmp_path, cache):
    total = len(pictures)
    for _ in range(2):
        told = Told()
        encode({"images": pictures}, Counting(), cache=tmp_path if cache else False, progress=told.add)
        done = [at for at, _ in told]
        assert done == sorted(done)
        assert done[-1] == total
        assert {whole for _, whole in told} == {total}
    assert done == [total] if cache else done == [0, SHARD, total]


def test_arrays_tell_progress_too():
    told = Told()
    encode({"features": np.eye(3)}, "arrays", progress=told.add)
    assert told == [(3, 3)]


def test_the_wrong_kind_is_named():
    with pytest.raises(
        BadInput, match="array holds arrays, the encoder 'pixels' reads images: use the encoder 'arrays'"
    ):
        encode({"features": np.eye(3)}, "pixels", cache=False)
    with pytest.raises(BadInput, match="array holds images, the encoder 'arrays' reads arrays: use an image encoder"):
        encode({"images": np.zeros((2, 4, 4), np.uint8)}, "arrays", cache=False)


def test_no_inputs_and_no_wishes_are_errors(pictures):
    with pytest.raises(BadInput, match="no inputs"):
        encode(open_inputs({"images": pictures}).take([]), Pixels(), cache=False)
    with pytest.raises(WrongUse, match="nothing is wanted: the encoder 'pixels' gives features"):
        encode({"images": pictures}, Pixels(), [], cache=False)


def test_one_signal_may_be_named_by_itself(pictures):
    assert encode({"images": pictures[:3]}, Counting(), "logits", cache=False).signals.names == ("logits",)
    request = Perturbed(0.1, 10)
    assert encode({"images": pictures[:3]}, Counting(), request, cache=False).signals.names == (request.key,)


def test_what_an_encoder_cannot_give_is_named(pictures):
    with pytest.raises(WrongUse, match="gives features and logits, not embedding"):
        encode({"images": pictures[:3]}, Counting(), {"embedding"}, cache=False)


def test_memory_holds_one_shard(tmp_path):
    """Once written, a shard is read from the disk; its array must be free again."""
    alive = []

    class Wide(Encoder):
        provides = frozenset({"features"})
        id = "wide"

        def prepare(self, image):
            return image

        def answer(self, batch, wanted):
            return {"features": torch.from_numpy(batch.reshape(len(batch), -1)[:, :4]).float().repeat(1, 1000)}

    images = np.random.default_rng(0).integers(0, 256, (6 * SHARD, 2, 2, 3), dtype=np.uint8)
    tracemalloc.start()
    try:
        encode(
            {"images": images},
            Wide(),
            cache=tmp_path,
            progress=lambda *_: alive.append(tracemalloc.get_traced_memory()[0]),
        )
    finally:
        tracemalloc.stop()
    shard = SHARD * 4000 * 4
    assert alive[-1] - alive[0] < 2 * shard  # of 6


def test_a_full_disk_keeps_finished_shards(tmp_path):
    """The limit of a file's size stands in for a full disk, in a process of its own."""
    script = """
        import resource, sys
        import numpy as np
        from unseen.encoders import encode
        from unseen.encoders._encode import SHARD
        from unseen.errors import NoRoom
        images = np.random.default_rng(0).integers(0, 256, (SHARD + 10, 6, 6, 3), dtype=np.uint8)
        encode({"images": images[:SHARD]}, "pixels?size=6", cache=sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
        try:
            encode({"images": images}, "pixels?size=6", cache=sys.argv[1])
        except NoRoom as error:
            print(error.exit_code, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("6 ")
    assert "no space left on the disk" in done.stdout
    assert "(256 of 266 inputs are encoded and stay)" in done.stdout
    assert not list(tmp_path.rglob("*.part"))
    told = Told()
    images = np.random.default_rng(0).integers(0, 256, (SHARD + 10, 6, 6, 3), dtype=np.uint8)
    encode({"images": images}, "pixels?size=6", cache=tmp_path, progress=told.add)
    assert [done for done, _ in told] == [SHARD, SHARD + 10]
