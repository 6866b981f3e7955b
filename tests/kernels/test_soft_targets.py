"""Sharpened mean predictions: a closed form, and the forms against each other."""

import pytest
import tiny
import torch

from nlkit.kernels.soft_targets import naive, soft_targets

# log 0 is meant, and NumPy warns of it
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")


def test_refinement_trusts_the_label_by_the_weight_of_its_row(form: None, device: torch.device) -> None:
    logits = torch.randn(3, 3, generator=tiny.stream(3)).to(device)
    labels, ones = torch.tensor([0, 2, 1], device=device), torch.ones(3, device=device)
    trusted = torch.eye(3, device=device)[labels]
    torch.testing.assert_close(soft_targets([logits], 0.5, labels, ones), trusted)
    torch.testing.assert_close(soft_targets([logits], 0.5, labels, 0 * ones), soft_targets([logits], 0.5))
    assert not soft_targets([logits.clone().requires_grad_()], 0.5).requires_grad
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8]], device=device)
    found = soft_targets([p.log()], 1.0, labels[:1].repeat(2) + torch.arange(2, device=device), ones[:2] * 0.5)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [0.1, 0.9]], device=device))


@pytest.mark.parametrize(("rows", "classes"), [(0, 3), (1, 1), (3, 2), (17, 10), (5, 33)])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("labelled", [False, True])
def test_forms_agree(triton: None, device: torch.device, rows: int, classes: int, views: int, labelled: bool) -> None:
    stream = tiny.stream(rows)
    logits = [(30 * torch.randn(rows, classes, generator=stream)).to(device) for _ in range(views)]
    labels = torch.randint(classes, (rows,), generator=stream).to(device)
    trust = (labels, torch.rand(rows, generator=stream).to(device)) if labelled else (None, None)
    torch.testing.assert_close(soft_targets(logits, 0.4, *trust), naive.soft_targets(logits, 0.4, *trust))
