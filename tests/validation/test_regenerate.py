"""Images by content: what is made once is never made again, and nothing is lost or passed off."""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fairbrush.errors import GeneratorError, ImagesRefusedError, RegenerationError
from fairbrush.validation.generators import (
    Conditioning,
    Generator,
    LazyGenerator,
    Request,
    Sampling,
    describe_generator,
)
from fairbrush.validation.regenerate import Progress, Regenerated, image_key, is_whole_png, regenerate

SAMPLING = Sampling(steps=2, guidance=7.5, scheduler=None, width=16, height=8)
REQUESTS = [Request(f"a cat by artist {number}", number) for number in range(10)]


class Painter:
    """A generator of flat colours that tells what it was asked for, and fails where it is told to."""

    model_digest = "d" * 64
    device = "cpu"
    precision = "float32"
    side = 16

    def __init__(self, *, fits: int = 100, refuses: Sequence[int] = ()) -> None:
        self.fits, self.refuses = fits, refuses
        self.asked: list[list[int]] = []
        self.error: Callable[[], BaseException] = MemoryError

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Any:
        self.asked.append([request.seed for request in requests])
        if len(requests) > self.fits:
            raise self.error()
        made = [self.paint(request, sampling) for request in requests]
        reasons = {
            place: f"No image of {request}."
            for place, request in enumerate(requests)
            if request.seed in self.refuses
        }
        if reasons:
            raise ImagesRefusedError(
                [None if place in reasons else image for place, image in enumerate(made)],
                reasons,
                next_step="Look away.",
            )
        return np.stack(made)

    def paint(self, request: Request, sampling: Sampling) -> Any:
        return np.full((sampling.height, sampling.width, 3), request.seed, np.uint8)

    def lazily(self) -> LazyGenerator:
        return LazyGenerator(self.model_digest, self.precision, self.side, lambda: self)


def run(
    folder: Path, painter: Painter, requests: Sequence[Request] = REQUESTS, **options: Any
) -> list[Regenerated]:
    return list(regenerate(requests, SAMPLING, painter.lazily(), folder=folder, **options))


def test_images_come_in_the_requests_order_and_hold_the_models_pixels(tmp_path: Path) -> None:
    painter = Painter()
    made = run(tmp_path, painter, batch=4)
    assert painter.asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [one.request for one in made] == REQUESTS
    assert not any(one.was_cached for one in made)
    for one in made:
        with Image.open(one.path) as image:
            assert (image.size, image.mode, image.info) == ((16, 8), "RGB", {})
            assert (np.asarray(image) == one.request.seed).all()
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
        assert one.path.relative_to(tmp_path).as_posix() == f"{one.path.stem[:2]}/{one.path.stem}.png"


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    first = run(tmp_path, Painter(), REQUESTS[2:5])
    painter = Painter()
    second = run(tmp_path, painter, batch=4)
    assert painter.asked == [[0, 1, 5, 6], [7, 8, 9]]
    assert [one.was_cached for one in second] == [2 <= n < 5 for n in range(10)]
    assert [one.sha256 for one in second[2:5]] == [one.sha256 for one in first]
    assert [*map(replace_cached, run(tmp_path, Painter(fits=0)))] == [*map(replace_cached, second)]


def replace_cached(one: Regenerated) -> Regenerated:
    return replace(one, was_cached=True)


def test_one_request_made_twice_is_made_once(tmp_path: Path) -> None:
    painter = Painter()
    made = run(tmp_path, painter, [REQUESTS[1], REQUESTS[2], REQUESTS[1]])
    assert painter.asked == [[1, 2]]
    assert [one.request.seed for one in made] == [1, 2, 1]
    assert made[0].path == made[2].path


def test_images_are_on_the_disk_before_they_are_told(tmp_path: Path) -> None:
    for one in itertools.islice(regenerate(REQUESTS, SAMPLING, Painter().lazily(), folder=tmp_path), 3):
        assert one.path.is_file()
    painter = Painter()
    run(tmp_path, painter)
    assert painter.asked[0][0] == 4  # the batch of the third was kept


# ------------------------------------------------------------------ the key


def key(request: Request = REQUESTS[0], sampling: Sampling = SAMPLING, **options: str) -> str:
    return image_key(request, sampling, **{"model_digest": "d" * 64, "precision": "float32", **options})


def test_everything_that_decides_an_image_is_in_its_key(tmp_path: Path) -> None:
    one = Conditioning("0" * 64, tmp_path / "a.png", 0.6)
    other = Conditioning("1" * 64, tmp_path / "b.png", 0.4)
    request = REQUESTS[0]
    keys = [
        key(),
        key(replace(request, prompt="a dog")),
        key(replace(request, negative_prompt="blur")),
        key(replace(request, seed=99)),
        key(replace(request, inputs=(one,))),
        key(replace(request, inputs=(one, other))),
        key(replace(request, inputs=(one, replace(other, weight=0.5)))),
        *(
            key(sampling=replace(SAMPLING, **{field: 24}))
            for field in ("steps", "guidance", "width", "height")
        ),
        key(sampling=replace(SAMPLING, scheduler="Euler")),
        key(sampling=replace(SAMPLING, scheduler="Euler Karras")),
        key(model_digest="e" * 64),
        key(precision="float16"),
    ]
    assert len(set(keys)) == len(keys)
    moved = replace(one, path=tmp_path / "elsewhere.png")
    assert key(replace(request, inputs=(other, moved))) == key(replace(request, inputs=(one, other)))
    assert key(sampling=replace(SAMPLING, scheduler="k_euler")) == keys[11]
    assert key(sampling=replace(SAMPLING, guidance=24)) == key(sampling=replace(SAMPLING, guidance=24.0))


def test_a_key_changes_with_the_version_of_diffusers_and_not_of_fairbrush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fairbrush.validation.regenerate._diffusers_version", lambda: "0.42.1")
    known = key()
    assert known == "b6fd75f8fe3c6a4f7290d12a3aec8c534a752ea8fe9af0a831e2d7cd1b55093f"
    monkeypatch.setattr("fairbrush.validation.regenerate._diffusers_version", lambda: "0.43.0")
    assert key() != known


def test_an_unknown_sampler_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="'my sampler' is not known"):
        next(
            regenerate(
                REQUESTS, replace(SAMPLING, scheduler="my sampler"), Painter().lazily(), folder=tmp_path
            )
        )


def test_no_prompt_is_on_the_disk(tmp_path: Path) -> None:
    run(tmp_path, Painter(), [Request("a secret by zoe", 7)])
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert re.fullmatch(r"[0-9a-f]{64}\.png", file.name)
    assert b"secret" not in file.read_bytes()


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "size", "text"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    (one,) = run(tmp_path, Painter(), REQUESTS[3:4])
    whole = one.path.read_bytes()
    if damage == "size":
        Image.new("RGB", (16, 16)).save(one.path)
    else:
        flipped = bytearray(whole)
        flipped[-20] ^= 1
        one.path.write_bytes(
            {"empty": b"", "cut": whole[:-12], "bit": bytes(flipped), "text": b"no image"}[damage]
        )
    painter = Painter()
    (again,) = run(tmp_path, painter, REQUESTS[3:4])
    assert painter.asked == [[3]]
    assert not again.was_cached
    assert again.path.read_bytes() == whole


def test_no_bit_of_a_png_flips_unseen(tmp_path: Path) -> None:
    (one,) = run(tmp_path, Painter(), REQUESTS[:1])
    whole = one.path.read_bytes()
    assert is_whole_png(whole, (16, 8))
    assert not any(is_whole_png(whole[:length], (16, 8)) for length in range(len(whole)))
    assert not is_whole_png(whole + b"\0", (16, 8))
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        assert not is_whole_png(bytes(flipped), (16, 8)), place


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fairbrush.validation.regenerate.write_durably", full)
    with pytest.raises(RegenerationError, match=r"No space left on device.*images made so far are kept"):
        run(tmp_path, Painter())


# ------------------------------------------------------------------ failures


def test_a_batch_that_does_not_fit_is_halved_and_that_is_told(tmp_path: Path) -> None:
    painter, told = Painter(fits=2), list[Progress]()
    painter.error = lambda: RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    made = run(tmp_path, painter, batch=8, report=told.append)
    assert [len(seeds) for seeds in painter.asked] == [8, 4, 2, 2, 2, 2, 2]
    assert len(made) == 10
    assert [progress.note for progress in told if progress.note] == [
        "Out of memory with 8 images at a time: going on with 4.",
        "Out of memory with 4 images at a time: going on with 2.",
    ]


def test_where_not_one_image_fits_the_error_says_what_to_do(tmp_path: Path) -> None:
    painter = Painter(fits=0)
    with pytest.raises(RegenerationError, match=r"Not even one image of 16 x 8 px.*--precision float16"):
        run(tmp_path, painter, batch=3)
    assert [len(seeds) for seeds in painter.asked] == [3, 1]


def test_another_runtime_error_is_not_taken_for_memory(tmp_path: Path) -> None:
    painter = Painter(fits=0)
    painter.error = lambda: RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(tmp_path, painter)
    assert len(painter.asked) == 1


def test_requests_that_fail_do_not_cost_the_others(tmp_path: Path) -> None:
    run_of_all = regenerate(REQUESTS, SAMPLING, Painter(refuses=[1, 8]).lazily(), folder=tmp_path, batch=4)
    assert [one.request.seed for one in itertools.islice(run_of_all, 8)] == [0, 2, 3, 4, 5, 6, 7, 9]
    with pytest.raises(RegenerationError) as caught:
        next(run_of_all)
    assert len(list(tmp_path.rglob("*.png"))) == 8
    assert str(caught.value).startswith("2 of 10 images could not be made.")
    assert "seed 1," in str(caught.value)
    assert "seed 8," in str(caught.value)
    assert str(caught.value).endswith("Look away. The others are kept: run it again to go on.")
    assert "artist 8" not in str(caught.value)
    again = Painter()
    run(tmp_path, again)
    assert again.asked == [[1, 8]]


def test_weights_that_change_under_a_run_are_not_filed_under_the_old_name(tmp_path: Path) -> None:
    lazy = replace(Painter().lazily(), model_digest="e" * 64)
    with pytest.raises(GeneratorError, match="files changed"):
        list(regenerate(REQUESTS, SAMPLING, lazy, folder=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_up_and_the_remaining_time_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, Painter(), REQUESTS[:2])
    clock = [100.0]
    monkeypatch.setattr("fairbrush.validation.regenerate.time.monotonic", lambda: clock[0])

    class Slow(Painter):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> Any:
            clock[0] += 3.0 * len(requests)
            return super().generate(requests, sampling)

    def load() -> Painter:
        clock[0] += 60
        return Slow()

    told: list[Progress] = []
    lazy = replace(Painter().lazily(), load=load)
    list(regenerate(REQUESTS, SAMPLING, lazy, folder=tmp_path, batch=4, report=told.append))
    assert told == [Progress(2, 10, 0, None), Progress(6, 10, 72, 12), Progress(10, 10, 84, 0)]
    told.clear()
    run(tmp_path, Painter(fits=0), report=told.append)
    assert told == [Progress(10, 10, 0, 0)]


# ------------------------------------------------------------------ processes

SLOW_RUN = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from validation.test_regenerate import REQUESTS, SAMPLING, Painter
from fairbrush.validation.regenerate import regenerate

class Slow(Painter):
    def generate(self, requests, sampling):
        time.sleep(0.1)
        return super().generate(requests, sampling)

for one in regenerate(REQUESTS, SAMPLING, Slow().lazily(), folder=Path(sys.argv[1]), batch=1):
    print(one.request.seed, flush=True)
"""


def test_a_killed_run_loses_nothing_it_told_and_resumes(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    arguments = [sys.executable, "-c", SLOW_RUN, str(tmp_path), tests]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(3)]
        os.kill(process.pid, 9)
    files = list(tmp_path.rglob("*.png"))
    assert told == [0, 1, 2]
    assert 3 <= len([file for file in files if not file.name.startswith(".")]) < 10
    painter = Painter()
    made = run(tmp_path, painter, batch=1)
    assert [one.was_cached for one in made[:3]] == [True] * 3
    assert len(painter.asked) == sum(not one.was_cached for one in made)
    for one in made:
        assert (np.asarray(Image.open(one.path)) == one.request.seed).all()


def test_an_interrupt_passes_through_and_costs_one_batch(tmp_path: Path) -> None:
    class Interrupted(Painter):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> Any:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().generate(requests, sampling)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupted(), batch=2)
    assert len(list(tmp_path.rglob("*.png"))) == 4


CACHED_RUN = """
import json, sys
from pathlib import Path
from fairbrush.validation.generators import Request, Sampling, describe_generator
from fairbrush.validation.regenerate import regenerate
lazy = describe_generator(sys.argv[1])
sampling = Sampling(2, 7.5, "Euler a", lazy.side, lazy.side)
made = list(regenerate([Request("a cat by ann", 1)], sampling, lazy, folder=Path(sys.argv[2])))
heavy = {"torch", "diffusers", "transformers", "huggingface_hub", "PIL"} & set(sys.modules)
print(json.dumps([made[0].was_cached, made[0].sha256, sorted(heavy)]))
"""


def test_with_every_image_there_no_torch_is_loaded(tiny: Path, generator: Generator, tmp_path: Path) -> None:
    lazy = replace(describe_generator(tiny), load=lambda: generator)
    sampling = Sampling(2, 7.5, "Euler a", 64, 64)
    request = Request("a cat by ann", 1)
    (made,) = regenerate([request], sampling, lazy, folder=tmp_path)
    assert (np.asarray(Image.open(made.path)) == generator.generate([request], sampling)[0]).all()
    arguments = [sys.executable, "-c", CACHED_RUN, str(tiny), str(tmp_path)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [True, made.sha256, []]
