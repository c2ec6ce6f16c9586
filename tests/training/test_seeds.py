import torch

from training import seeds


def test_a_place_always_has_the_same_seed_and_another_place_another() -> None:
    places: list[tuple[str | int, ...]] = [
        (),
        ("step", 1),
        ("step", 2),
        ("step", "1"),
        ("st", "ep", 1),
    ]
    derived = [seeds.derive(seed, *place) for seed in (0, 1) for place in places]
    assert derived == [seeds.derive(seed, *place) for seed in (0, 1) for place in places]
    assert len(set(derived)) == 2 * len(places)
    assert all(0 <= seed < 2**63 for seed in derived)


def test_seeds_have_63_bits() -> None:
    """Each bit is set in about half of them."""
    derived = [seeds.derive(0, number) for number in range(400)]
    for bit in range(63):
        assert 120 < sum(seed >> bit & 1 for seed in derived) < 280


def test_generators_repeat() -> None:
    first, second = (seeds.generator(3, "example", 7).random(4) for _ in range(2))
    assert (first == second).all()


def test_torch_repeats() -> None:
    seeds.seed_torch(3, "step", 1)
    first = torch.rand(4)
    seeds.seed_torch(3, "step", 1)
    assert torch.equal(first, torch.rand(4))
