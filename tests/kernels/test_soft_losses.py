"""The losses of MixMatch and their gradients, in one launch and by PyTorch; `tests/parts` has their closed forms."""

import pytest
import tiny
import torch

from nlkit.kernels.soft_losses import naive, soft_losses


@pytest.mark.parametrize(("count", "classes", "rows"), [(1, 2, 1), (5, 3, 2), (5, 3, 5), (70, 10, 33), (9, 33, 4)])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_forms_agree_in_values_and_gradients(
    triton: None, device: torch.device, count: int, classes: int, rows: int, scale: float
) -> None:
    """At the larger scale a class may be predicted by no row at all, where the penalty is cut off."""
    stream = tiny.stream(count)
    start = (scale * torch.randn(count, classes, generator=stream)).to(device)
    targets = torch.rand(count, classes, generator=stream).to(device)
    found, gradients = [], []
    for function in (soft_losses, naive.soft_losses):
        logits = start.clone().requires_grad_()
        losses = torch.stack(function(logits, targets, rows))
        losses.backward(torch.tensor([0.7, -3.0, 2.0], device=device))
        found.append(losses.detach())
        gradients.append(logits.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_half_precision_logits_have_losses_in_single_and_gradients_in_half(form: None, device: torch.device) -> None:
    logits = torch.randn(4, 3, generator=tiny.stream(0)).to(device, torch.bfloat16).requires_grad_()
    losses = soft_losses(logits, torch.eye(4, device=device)[:, :3], 2)
    sum(losses).backward()  # type: ignore[union-attr]
    assert all(one.dtype == torch.float32 for one in losses) and logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16 and bool(logits.grad.isfinite().all())
