"""The loss against a hand computation, its centre, Sinkhorn, the head, and the signs of collapse."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from core.training.dino.head import DinoHead
from core.training.dino.loss import DinoLoss, sinkhorn
from core.training.dino.monitor import collapse_signs
from core.training.dino.schedule import cosine_between, learning_rate, warmed_up


def _by_hand(student: list[Tensor], teacher: Tensor, center: list[float], warm: float, cold: float) -> float:
    """Algorithm 1 of the paper in plain Python, one number at a time."""

    def softmax(values: list[float]) -> list[float]:
        powers = [math.exp(value) for value in values]
        return [power / sum(powers) for power in powers]

    losses = []
    for t, taught in enumerate(teacher.tolist()):
        for s, said in enumerate(student):
            if s == t:
                continue
            for row, answer in zip(taught, said.tolist(), strict=True):
                target = softmax([(value - c) / cold for value, c in zip(row, center, strict=True)])
                share = softmax([value / warm for value in answer])
                losses.append(-sum(p * math.log(q) for p, q in zip(target, share, strict=True)))
    return sum(losses) / len(losses)


def test_loss_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    teacher, student = torch.rand(2, 3, 5), [torch.rand(3, 5) for _ in range(4)]
    loss = DinoLoss(5, student_temperature=0.2)
    loss.center.copy_(torch.tensor([0.1, 0.0, -0.2, 0.3, 0.05]))
    found = loss(student, loss.targets(teacher, 0.05))
    expected = _by_hand(student, teacher, loss.center.tolist(), 0.2, 0.05)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_view_is_not_compared_with_itself() -> None:
    """With one view that both saw, there is nothing to compare; the second one alone decides."""
    teacher = torch.eye(4)[None, :2]  # 1 2 4
    own, other = torch.eye(4)[:2] * -50, torch.eye(4)[:2]
    loss = DinoLoss(4)
    targets = loss.targets(teacher, 0.01)
    assert loss([own, other], targets).item() < 1e-3
    assert loss([other, own], targets).item() > 100


def test_centre_after_known_steps() -> None:
    loss = DinoLoss(3, center_momentum=0.9)
    loss.update_center(torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
    assert loss.center.tolist() == pytest.approx([0.05, 0.05, 0.0])
    loss.update_center(torch.ones(2, 4, 3))
    assert loss.center.tolist() == pytest.approx([0.145, 0.145, 0.1])


def test_without_centring_the_centre_stays() -> None:
    for centring in ("none", "sinkhorn"):
        loss = DinoLoss(3, centring)  # type: ignore[arg-type]
        loss.update_center(torch.ones(2, 4, 3))
        assert loss.center.tolist() == [0, 0, 0]


def test_sinkhorn_balances_a_batch_that_prefers_one_prototype() -> None:
    torch.manual_seed(0)
    scores = torch.randn(64, 8)
    scores[:, 0] += 10
    shares = sinkhorn(scores)
    assert shares.sum(dim=1).numpy() == pytest.approx(np.ones(64), abs=1e-5)
    assert shares.sum(dim=0).numpy() == pytest.approx(np.full(8, 8.0), rel=0.15)
    order = scores[:, 1:].argmax(dim=1)
    within = shares[:, 1:].argmax(dim=1)
    assert (order == within).float().mean() > 0.7  # what each picture likes best among the others is kept


def test_sinkhorn_survives_scores_far_apart() -> None:
    shares = sinkhorn(torch.tensor([[0.0, -500.0], [0.0, -500.0], [-500.0, 0.0]]))
    assert torch.isfinite(shares).all()
    assert shares.sum(dim=1).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_head_gives_cosines_whatever_the_length_of_the_prototypes() -> None:
    torch.manual_seed(0)
    head = DinoHead(16, 10, 32, 8)
    features = torch.randn(4, 16)
    before = head(features)
    with torch.no_grad():
        head.prototypes.mul_(torch.rand(10, 1) * 9 + 0.5)
    assert before.shape == (4, 10)
    assert before.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(head(features), before)


def test_schedules_begin_and_end_where_they_should() -> None:
    assert cosine_between(0.996, 1.0, 0, 100) == pytest.approx(0.996)
    assert cosine_between(0.996, 1.0, 50, 100) == pytest.approx(0.998)
    assert cosine_between(0.996, 1.0, 100, 100) == pytest.approx(1.0)
    assert [warmed_up(0.04, 0.07, step, 30) for step in (0, 15, 30, 90)] == pytest.approx(
        [0.04, 0.055, 0.07, 0.07]
    )
    assert warmed_up(0.04, 0.07, 0, 0) == 0.07
    rates = [learning_rate(step, 100, 10, 1.0, 0.01) for step in (0, 9, 10, 55, 100)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.505, 0.01])


def _signs(targets: Tensor, features: Tensor | None = None) -> tuple[float, float, str]:
    torch.manual_seed(0)
    logits = torch.log(targets + 1e-9) * 0.1
    given = torch.randn(len(targets), 32) if features is None else features
    signs = collapse_signs(targets, logits, 0.1, given)
    return signs.teacher_entropy, signs.kl, signs.warning


def test_a_healthy_teacher_raises_no_warning() -> None:
    entropy, kl, warning = _signs(torch.eye(16).repeat(4, 1))
    assert entropy == pytest.approx(0, abs=1e-6)
    assert kl == pytest.approx(0, abs=1e-4)
    assert warning == ""


def test_uniform_targets_are_called_a_collapse() -> None:
    entropy, _, warning = _signs(torch.full((64, 16), 1 / 16))
    assert entropy == pytest.approx(math.log(16), rel=1e-5)
    assert "all prototypes alike" in warning


def test_one_prototype_for_all_is_called_a_collapse() -> None:
    entropy, _, warning = _signs(torch.eye(16)[:1].repeat(64, 1))
    assert entropy == pytest.approx(0, abs=1e-6)
    assert "the same prototypes" in warning


def test_features_that_are_all_alike_are_called_a_collapse() -> None:
    alike = torch.ones(64, 32) + 1e-4 * torch.randn(64, 32)
    assert "nearly alike" in _signs(torch.eye(16).repeat(4, 1), alike)[2]
    assert collapse_signs(
        torch.eye(16).repeat(4, 1), torch.zeros(64, 16), 0.1, torch.randn(64, 32)
    ).feature_std == pytest.approx(1, abs=0.05)


def test_divergence_is_that_of_the_definition() -> None:
    targets = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    said = torch.tensor([[0.2, 0.2, 0.6], [0.3, 0.3, 0.4]])
    signs = collapse_signs(targets, said.log() * 0.1, 0.1, torch.randn(2, 4))
    expected = (targets * (targets / said).log()).sum(dim=1).mean()
    assert signs.kl == pytest.approx(expected.item(), rel=1e-4)
    assert signs.information == pytest.approx(
        (_entropy(targets.mean(dim=0)) - (_entropy(targets[0]) + _entropy(targets[1])) / 2) / math.log(3),
        rel=1e-4,
    )


def _entropy(shares: Tensor) -> float:
    return float(-(shares * shares.log()).sum())
