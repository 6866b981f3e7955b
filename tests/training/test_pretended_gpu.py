"""Every method trains, is interrupted and resumes on a GPU: nothing is left on the CPU that belongs there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from pretended_gpu import GPU, pretended_gpu

import nlkit
from nlkit.params import registry
from nlkit.seeding import torch_stream


def test_the_pretended_gpu_refuses_what_a_gpu_refuses() -> None:
    assert type(torch_stream(torch.device("cpu"))) is torch.Generator
    with pretended_gpu():
        assert torch_stream(GPU).device == GPU
        here, there = torch.ones(3, 4), torch.randn(3, 4, device="cuda", generator=torch.Generator("cuda"))
        layer = torch.nn.Linear(4, 2).to("cuda")
        layer(there).sum().backward()
        results = [there + 1, there[0].clone(), layer(there), there * torch.tensor(2.0), layer.weight.grad]
        assert {one.device for one in [*results, there[torch.tensor([0])], torch.zeros_like(there)]} == {GPU}
        assert {one.device.type for one in (here, there.cpu(), here + 1, there.to("cpu"))} == {"cpu"}
        refused: list[Callable[[], object]] = [
            lambda: here + there,
            lambda: torch.cat([here, there]),
            lambda: here[there[:, 0].long()],
            lambda: there.numpy(),
            lambda: layer(here),
            lambda: torch.randperm(3, generator=torch.Generator("cuda")),
            lambda: there.uniform_(generator=torch.Generator()),
        ]
        for wrong in refused:
            with pytest.raises((RuntimeError, TypeError), match="pretended GPU"):
                wrong()
    assert type(torch_stream(torch.device("cpu"))) is torch.Generator


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
def test_every_method_trains_and_resumes_on_a_gpu(name: str, tmp_path: Path) -> None:
    params = tiny.params(name, **{"training.epochs": 3, "data.train_size": 256, "training.precision": "auto"})
    with pretended_gpu():
        with tiny.interrupted(name, 2):
            nlkit.run(params, tmp_path / "run", device="cuda", progress=False)
        run = nlkit.run(params, tmp_path / "run", device="cuda", progress=False)
    assert run.origin == "resumed" and run.record["device"]["type"] == "cuda"
