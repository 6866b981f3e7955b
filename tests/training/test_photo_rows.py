"""Every row on photographs: its real parameters with smaller sizes, two epochs on a small official-looking tree."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import yaml
from torch import Tensor, nn
from trees import TREES, webvision_tree

import nlkit
from nlkit.models import photo
from nlkit.params import read_tree

ROOT = Path(__file__).parents[2]
SMALL = {"data.short": 40, "views.size": 33, "training.batch_size": 16, "training.eval_batch_size": 64}
INCEPTION = {"data.short": 120, "views.size": 108, "training.batch_size": 12, "training.eval_batch_size": 50}
"""From 33 and from 107 pixels on the last map is larger than one pixel, as batch norm needs it for a batch of one."""
ROWS: dict[str, dict[str, Any]] = {
    "dividemix/webvision": INCEPTION,
    "dividemix/webvision-resnet18": SMALL,
    "dividemix/clothing1m": SMALL | {"method.balanced": 70},
    "codim/webvision-self": INCEPTION,
    "codim/webvision-sup": INCEPTION,
    "tcl/webvision": SMALL,
    "tcl/clothing1m": SMALL | {"method.balanced": 70},
    "lra_diffusion/webvision-clip": SMALL | {"method.balanced": 100},
    "lra_diffusion/food101n-clip": SMALL,
    "lra_diffusion/clothing1m": SMALL | {"method.balanced": 70},
}
TESTS = {"webvision": {"test", "imagenet"}, "clothing1m": {"test", "val"}, "food101n": {"test"}}


class StandIn(nn.Module):
    """In place of CLIP's image tower: average colours of a grid of 4 x 4 cells."""

    def encode_image(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small tree in each layout, and files of features beside that of Clothing1M."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in TESTS:
        expected = TREES[name](root)
        if name == "clothing1m":
            sound = len(expected.train) - len(expected.flaws)
            counts = {"train": sound, **{part: len(labels) for part, labels in expected.tests.items()}}
            for part, count in counts.items():
                np.save(root / name / f"cc-{part}.npy", rng.standard_normal((count, 12)).astype(np.float32))
    webvision_tree(root / "few", each=2)
    return root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the pre-training that CoDiM starts from, of one epoch on smaller images."""
    (tmp_path / "notebooks").mkdir()
    folder = tmp_path / "params" / "simclr"
    folder.mkdir(parents=True)
    content = read_tree(ROOT / "params/simclr/webvision.yaml")
    content["data"]["short"], content["views"]["size"] = INCEPTION["data.short"], INCEPTION["views.size"]
    content["training"] |= {"epochs": 1, "batch_size": 40, "eval_batch_size": 50, "snapshots": [1]}
    (folder / "webvision.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photo, "_clip_model", lambda file: StandIn())
    network = torchvision.models.get_model
    monkeypatch.setattr(photo, "_imagenet", lambda name, here: network(name.removeprefix("torchvision_")).state_dict())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_two_epochs_of_each_row_end_in_a_record_with_its_real_test_sets(row: str, trees: Path, project: Path) -> None:
    sizes = {"training.epochs": 2, "training.snapshots": [1, 2], **ROWS[row]}
    params = nlkit.load_params(ROOT / "params" / f"{row}.yaml", **sizes)
    torch.manual_seed(0)
    root = trees / "few" if params.model.name == "inception_resnet_v2" else trees
    run = nlkit.run(params, out=project / "out", data=root, device="cpu", progress=False)
    name = params.data.name
    assert set(run.record["data"]["test"]) == TESTS[name]
    assert len(run.epochs) == 2
    for test in TESTS[name]:
        column = "accuracy" if test == "test" else f"accuracy_{test}"
        assert run.epochs[column].between(0, 100).all()
        if name in ("webvision", "food101n"):
            top5 = run.epochs["top5" if test == "test" else f"top5_{test}"]
            assert (top5 >= run.epochs[column]).all() and top5.between(0, 100).all()
    assert ("selected" in run.record["accuracy"]) == (name == "clothing1m")
    assert len(run.samples) == run.record["data"]["train"]
    assert np.isfinite(run.samples["loss"]).mean() > 0.3
    assert any("left out" in warning for warning in run.record["data"]["warnings"])
