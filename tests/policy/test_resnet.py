"""The image encoder: torchvision's weights mean what they meant there, keypoints are places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.encoder import ObservationEncoder
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.presets import preset
from ofp_edge.policy.resnet import MEAN, STD, ResNet, RgbEncoder, SpatialSoftmax
from ofp_edge.policy.resnet_weights import load_resnet_weights, torchvision_shapes
from ofp_edge.policy.sizes import RgbConfig
from tests.synthetic import rgb_fields, state_field, tiny_policy

NORM = ("weight", "bias", "running_mean", "running_var")
SMALL = RgbConfig((8, 16), (2, 1), keypoints=4, features=8, shared=False)


def resnet18_names() -> dict[str, tuple[int, ...]]:
    """`torchvision.models.resnet18().state_dict()` but for fc.* and num_batches_tracked."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}
    shapes.update({f"bn1.{part}": (64,) for part in NORM})
    inputs = 64
    for layer, width in ((1, 64), (2, 128), (3, 256), (4, 512)):
        for block in (0, 1):
            at = f"layer{layer}.{block}"
            shapes[f"{at}.conv1.weight"] = (width, inputs if block == 0 else width, 3, 3)
            shapes[f"{at}.conv2.weight"] = (width, width, 3, 3)
            for norm in ("bn1", "bn2"):
                shapes.update({f"{at}.{norm}.{part}": (width,) for part in NORM})
            if block == 0 and layer > 1:
                shapes[f"{at}.downsample.0.weight"] = (width, inputs, 1, 1)
                shapes.update({f"{at}.downsample.1.{part}": (width,) for part in NORM})
        inputs = width
    return shapes


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=generator)
        weights[name] = x.abs() + 0.5 if name.endswith("running_var") else 0.2 * x
    return weights


def reference(x: Tensor, w: Mapping[str, Tensor], blocks: tuple[int, ...]) -> Tensor:
    """ResNet as torchvision computes it in evaluation mode: batch normalisation as it is."""

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias, mean, var = (w[f"{name}.{part}"] for part in NORM)
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for i, count in enumerate(blocks):
        for k in range(count):
            at, stride = f"layer{i + 1}.{k}", 2 if i and k == 0 else 1
            y = F.conv2d(x, w[f"{at}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(F.relu(norm(y, f"{at}.bn1")), w[f"{at}.conv2.weight"], padding=1)
            if f"{at}.downsample.0.weight" in w:
                x = norm(
                    F.conv2d(x, w[f"{at}.downsample.0.weight"], stride=stride), f"{at}.downsample.1"
                )
            x = F.relu(norm(y, f"{at}.bn2") + x)
    return x


def encoder_of(config: RgbConfig, fields: int = 2) -> ObservationEncoder:
    observations = (state_field(4), *rgb_fields())[: 1 + fields]
    ranges = {f.name: FieldStatistics.of_range(f.low, f.high) for f in observations}
    network: NetworkConfig = replace(preset("tiny").network, rgb=config)
    return ObservationEncoder(network, observations, ranges).eval()


def networks(encoder: ObservationEncoder) -> list[ResNet]:
    return [m for m in encoder.modules() if isinstance(m, ResNet)]


def test_the_preset_is_resnet18_by_torchvisions_names_and_shapes() -> None:
    config = preset("resnet18").network.rgb
    assert config is not None
    with torch.device("meta"):
        shapes = torchvision_shapes(ResNet(config))
    assert shapes == resnet18_names() and len(shapes) == 100


def test_folded_weights_compute_what_torchvision_does(tmp_path: Path) -> None:
    encoder = encoder_of(SMALL)
    front, side = networks(encoder)
    weights = random_weights(torchvision_shapes(front))
    extra = {"fc.weight": torch.ones(3, 16), "fc.bias": torch.ones(3),
             "bn1.num_batches_tracked": torch.tensor(7)}  # fmt: skip
    save_file({**weights, **extra}, tmp_path / "w.safetensors")
    load_resnet_weights(encoder, tmp_path / "w.safetensors")
    x = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    expected = reference(x, weights, SMALL.blocks)
    for network in (front, side):
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.0.conv1.weight": None}, "'layer1.0.conv1.weight' is missing"),
        ({"layer9.0.conv1.weight": torch.ones(1)}, "'layer9.0.conv1.weight' is unknown"),
        ({"bn1.bias": torch.ones(9)}, r"'bn1.bias': expected shape \(8,\), got \(9,\)"),
        ({"bn1.bias": torch.full((8,), float("nan"))}, "'bn1.bias' holds NaN"),
    ],
)
def test_other_weights_are_refused_in_one_line_and_change_nothing(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    encoder = encoder_of(SMALL)
    before = {name: x.clone() for name, x in encoder.state_dict().items()}
    weights = {**random_weights(torchvision_shapes(networks(encoder)[0])), **change}
    kept = {name: x for name, x in weights.items() if x is not None}
    save_file(kept, tmp_path / "w.safetensors")
    with pytest.raises(PolicyError, match=message) as error:
        load_resnet_weights(encoder, tmp_path / "w.safetensors")
    assert "\n" not in str(error.value) and "--rgb-weights" in str(error.value)
    assert all(torch.equal(x, before[name]) for name, x in encoder.state_dict().items())


def test_a_file_that_is_none_and_a_policy_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04 a pickle")
    for path in (tmp_path / "w.pth", tmp_path / "absent"):
        with pytest.raises(PolicyError, match="missing or no safetensors file"):
            load_resnet_weights(encoder_of(SMALL), path)
    with pytest.raises(PolicyError, match="sees no images"):
        load_resnet_weights(encoder_of(SMALL, fields=0), tmp_path / "w.pth")


def test_a_keypoint_is_where_its_map_is_high() -> None:
    softmax = SpatialSoftmax(1, 1, 6, 8)
    torch.nn.init.ones_(softmax.maps.weight)
    x = torch.zeros(3, 1, 6, 8)
    for i, (row, column) in enumerate([(0, 0), (5, 7), (2, 3)]):
        x[i, 0, row, column] = 50.0
    expected = [[-1.0, -1.0], [1.0, 1.0], [2 * 3 / 7 - 1, 2 * 2 / 5 - 1]]
    torch.testing.assert_close(softmax(x), torch.tensor(expected))


def test_a_new_resnet_keeps_its_scale_and_its_branches_begin_at_zero() -> None:
    torch.manual_seed(0)
    network = ResNet(RgbConfig((16, 32, 64, 128), (2, 2, 2, 2), 4, 4, False))
    assert all(not m.weight.any() for n, m in network.named_modules() if n.endswith("conv2"))
    std = float(network(torch.randn(8, 3, 64, 64)).std())
    assert 0.1 < std < 10


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (33, 40)])
def test_any_image_size_fits_the_softmax(size: tuple[int, int]) -> None:
    encoder = RgbEncoder(SMALL, *size)
    assert encoder(torch.rand(2, 3, *size)).shape == (2, 8)


def test_cameras_share_weights_or_have_their_own() -> None:
    assert len(networks(encoder_of(SMALL))) == 2
    shared = encoder_of(replace(SMALL, shared=True))
    assert len(networks(shared)) == 1
    image = torch.rand(2, 3, 12, 16)
    feature = shared(torch.zeros(2, 4), image, image)
    assert torch.equal(feature[:, 4:12], feature[:, 12:]) and not torch.equal(*feature[:, 4:12])


def test_imagenets_mean_is_taken_out_inside_the_network() -> None:
    encoder = encoder_of(SMALL)
    colors = torch.tensor(MEAN)[None, :, None, None].expand(1, 3, 2, 2)
    spread = torch.tensor(STD)[None, :, None, None]
    torch.testing.assert_close(encoder.normalize[1](colors), torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(encoder.normalize[2](colors + spread), torch.ones(1, 3, 2, 2))


def test_a_preset_without_images_says_which_have_them() -> None:
    with pytest.raises(PolicyError, match="'rgb_front' is an image.*--preset rgb or resnet18"):
        fields = rgb_fields()
        ranges = {f.name: FieldStatistics.of_range(f.low, f.high) for f in fields}
        ObservationEncoder(preset("small").network, fields, ranges)


def test_both_cameras_reach_the_feature_and_the_folder_keeps_it(tmp_path: Path) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "rgb"))
    assert policy.config.network.rgb == preset("tiny").network.rgb
    assert sorted(policy.config.cameras) == ["front", "side"]
    state, front, side = torch.zeros(1, 1, 4), *torch.rand(2, 1, 1, 3, 12, 16)
    plain = policy.network.encode([state, front, side])
    assert plain.shape == (1, 4 + 2 * 8)
    assert not torch.equal(policy.network.encode([state, 1 - front, side]), plain)
    assert not torch.equal(policy.network.encode([state, front, 1 - side]), plain)


def test_sizes_that_do_not_fit_are_refused() -> None:
    value = preset("rgb").network.to_json()
    assert NetworkConfig.from_json(_lists(value)) == preset("rgb").network
    for change, message in (
        ({"blocks": [1]}, "expected one number for each of 2 channels"),
        ({"keypoints": 0}, "rgb.keypoints: expected at least 1"),
        ({"shared": 1}, "rgb.shared: expected true or false"),
    ):
        with pytest.raises(PolicyError, match=message):
            NetworkConfig.from_json(_lists({**value, "rgb": {**value["rgb"], **change}}))


def _lists(value: object) -> object:
    """As JSON gives it back."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
