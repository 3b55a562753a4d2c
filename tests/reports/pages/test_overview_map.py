"""The map of styles: what it keeps of distances is what it says, and no two pictures overlap."""

from itertools import combinations

import numpy as np
import pytest

from fairbrush.reports.pages.overview_map import lay_out, project, spread_out


def unit_rows(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def hands(n: int) -> list[str]:
    return [f"hand-{number:03}" for number in range(n)]


def apart(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows[:, None] - rows[None], axis=2)


def test_what_lies_in_a_plane_is_shown_as_it_is():
    flat = unit_rows(9, 2)
    turned, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 2)))
    found = project(flat @ turned.T, hands(9))
    assert found.variation == pytest.approx(1)
    assert apart(found.points) == pytest.approx(apart(flat))
    assert found.kept == pytest.approx(3)


def test_the_shown_part_is_that_of_the_two_largest_directions():
    rows = unit_rows(40, 12)
    values = np.linalg.eigvalsh(np.cov(rows.T))
    assert project(rows, hands(40)).variation == pytest.approx(values[-2:].sum() / values.sum())


def test_the_same_styles_give_the_same_map_in_any_frame():
    rows = unit_rows(30, 9)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(9, 9)))
    first, second = project(rows, hands(30)), project(rows @ turn, hands(30))
    assert second.points == pytest.approx(first.points)
    assert second.nearest == first.nearest
    assert (np.abs(first.points).max(axis=0) == first.points.max(axis=0)).all()


def test_neighbours_are_others_and_counted_by_hand():
    rows = unit_rows(25, 6)
    owners = hands(25)
    owners[1] = owners[0]  # two entries of one creator
    found = project(rows, owners)

    def three(distances: np.ndarray, row: int) -> set[int]:
        others = [one for one in range(25) if owners[one] != owners[row]]
        return set(sorted(others, key=lambda one: distances[row, one])[:3])

    in_space, on_map = apart(rows), apart(found.points)
    assert [set(one) for one in found.nearest] == [three(in_space, row) for row in range(25)]
    kept = [len(three(in_space, row) & three(on_map, row)) for row in range(25)]
    assert found.kept == pytest.approx(np.mean(kept))
    assert found.by_chance == pytest.approx(9 / 24)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_styles_have_a_map_too(n):
    found = project(unit_rows(n, 5), hands(n))
    assert found.points.shape == (n, 2)
    assert np.isfinite(found.points).all()
    assert [len(one) for one in found.nearest] == [n - 1] * n
    assert len(lay_out(found.points, range(n)).cells) == n


def test_equal_styles_lie_beside_each_other():
    canvas = lay_out(project(np.tile(unit_rows(1, 5), (4, 1)), hands(4)).points, range(4))
    assert len({(cell.left, cell.top) for cell in canvas.cells.values()}) == 4


@pytest.mark.parametrize("n", [1, 7, 16, 48, 49, 120])
def test_no_two_pictures_overlap_and_all_are_on_the_canvas(n):
    canvas = lay_out(project(unit_rows(n, 8), hands(n)).points, range(n))
    for one, other in combinations(canvas.cells.values(), 2):
        assert (
            abs(one.left - other.left) >= canvas.cell_width or abs(one.top - other.top) >= canvas.cell_height
        )
    for cell in canvas.cells.values():
        assert 0 <= cell.left <= canvas.width - canvas.cell_width
        assert 0 <= cell.top <= canvas.height - canvas.cell_height
        assert 0 <= cell.x <= canvas.width
        assert 0 <= cell.y <= canvas.height
    assert canvas.height <= 1400


def test_who_has_no_picture_is_a_dot():
    points = project(unit_rows(200, 8), hands(200)).points
    pictured = spread_out(points, 120)
    canvas = lay_out(points, pictured)
    assert len(set(pictured)) == 120
    assert canvas.cells.keys() == set(pictured)
    assert canvas.dots.keys() == set(range(200)) - set(pictured)


def test_pictures_are_spread_out():
    line = np.array([[0.0, 0.0], [0.1, 0.0], [10.0, 0.0], [10.1, 0.0], [5.0, 0.0]])
    assert spread_out(line, 3) == [4, 3, 0]  # the middle, then the ends
    assert spread_out(line, 9) == [0, 1, 2, 3, 4]


def test_the_map_keeps_directions():
    points = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0]])
    canvas = lay_out(points, range(3))
    cells = [canvas.cells[row] for row in range(3)]
    assert cells[1].x - cells[0].x == pytest.approx(2 * (cells[0].y - cells[2].y))  # one scale, up is up
    assert cells[2].y < cells[0].y == cells[1].y
