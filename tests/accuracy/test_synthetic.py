"""The made-up world: CLIP-like, the same for the same seed, and with nobody in two roles."""

import numpy as np

from fairbrush.accuracy import synthetic
from fairbrush.accuracy.synthetic import SyntheticWorld, indexed


def cosines_of_strangers(world: SyntheticWorld) -> np.ndarray:
    works = world.works(world.styles(synthetic.KNOWN, 300), draw=1).astype(float)
    return (works @ works.T)[np.triu_indices(300, 1)]


def test_unrelated_works_have_a_cosine_of_about_one_half() -> None:
    assert abs(cosines_of_strangers(SyntheticWorld(0)).mean() - 0.5) < 0.03


def test_works_are_unit_rows_of_float32() -> None:
    world = SyntheticWorld(3)
    works = world.works(world.styles(synthetic.KNOWN, 5), draw=2)
    assert (works.dtype, works.shape) == (np.float32, (5, synthetic.DIM))
    np.testing.assert_allclose(np.linalg.norm(works, axis=1), 1, atol=1e-6)


def test_the_same_seed_gives_the_same_world_and_another_another() -> None:
    one, same, other = (SyntheticWorld(seed).styles(synthetic.KNOWN, 4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.isclose(one, other).any()


def test_panel_hands_known_and_unknown_artists_are_different_people() -> None:
    world = SyntheticWorld(0)
    roles = [world.styles(role, 50) for role in (synthetic.PANEL, synthetic.KNOWN, synthetic.UNKNOWN)]
    together = np.concatenate(roles)
    assert len(np.unique(together.round(12), axis=0)) == 150


def test_schools_are_shared_between_roles() -> None:
    world = SyntheticWorld(0)
    known, panel = world.styles(synthetic.KNOWN, 200), world.styles(synthetic.PANEL, 200)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    panel /= np.linalg.norm(panel, axis=1, keepdims=True)
    assert (known @ panel.T).max(axis=1).min() > 0.3  # everybody has a school fellow on the panel


def test_an_artist_has_each_work_once_in_the_order_of_their_hashes() -> None:
    world = SyntheticWorld(0)
    works = np.stack([world.works(world.styles(synthetic.KNOWN, 2), draw=d) for d in range(6)], axis=1)
    [ann, bo] = indexed(["Ann", "Bo"], works)
    assert list(ann.work_sha256s) == sorted(set(ann.work_sha256s))
    assert len(set(ann.work_sha256s) | set(bo.work_sha256s)) == 12
    assert {row.tobytes() for row in ann.vectors} == {row.tobytes() for row in works[0]}
