"""Checkpoints: saved, loaded, imported, and refused without running code in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import load_file, save_file

from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.models.checkpoint import DEFAULT, Calibration, Checkpoint, build_network, import_weights, load, save
from erfnet_ros.models.erfnet import ACTIVATIONS, ERFNet

CLASSES = ClassSet("three", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


RANGES = {name: 1.5 + index for index, name in enumerate(ACTIVATIONS)}


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    scaling = ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    state = ERFNet(3).state_dict()
    return Checkpoint(CLASSES, state, (96, 64), "noise", 0.5, "none", *scaling, Calibration(RANGES, 0.99))


@pytest.fixture
def file(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "three.safetensors"
    save(checkpoint, path)
    return path


def test_what_is_saved_is_loaded_up_to_half_precision(checkpoint: Checkpoint, file: Path) -> None:
    loaded = load(file)
    assert replace(loaded, state_dict={}) == replace(checkpoint, state_dict={})
    for name, tensor in checkpoint.state_dict.items():
        torch.testing.assert_close(loaded.state_dict[name], tensor, rtol=1e-3, atol=1e-6)
        assert loaded.state_dict[name].dtype == tensor.dtype
    image = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        expected = build_network(checkpoint)(image)
        torch.testing.assert_close(build_network(loaded)(image), expected, rtol=1e-2, atol=1e-2)


def test_the_shipped_weights_load_and_state_their_source() -> None:
    shipped = load()
    assert shipped.class_set == CAMVID
    assert shipped.input_size == (480, 360)
    assert shipped.miou is not None
    assert shipped.miou > 0.48
    assert "non-commercial" in shipped.license
    assert DEFAULT.stat().st_size < 5_000_000


def broken_metadata(path: Path, change: Callable[[dict], None]) -> None:
    tensors = load_file(path)
    content = metadata_of(path)
    change(content)
    save_file(tensors, path, {"erfnet_ros": json.dumps(content)})


def metadata_of(path: Path) -> dict:
    head = path.read_bytes()
    length = int.from_bytes(head[:8], "little")
    return json.loads(json.loads(head[8 : 8 + length])["__metadata__"]["erfnet_ros"])


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file_a_folder_and_a_file_of_another_program_are_refused(tmp_path: Path) -> None:
    assert "got no such file" in refusal(tmp_path / "none.safetensors")
    assert "got a folder" in refusal(tmp_path)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "of another program" in refusal(tmp_path / "other.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, 100_000])
def test_a_truncated_file_is_refused(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    assert ("it is empty" if kept == 0 else "truncated or of another kind") in refusal(file)
    # A header of 0x280 bytes begins with the two bytes of a pickle of protocol 2.
    file.write_bytes((0x280).to_bytes(8, "little") + b'{"a": ')
    assert "truncated or of another kind" in refusal(file)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickled_file_is_sent_to_import_weights(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=not legacy)
    assert "erfnet import-weights" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"class_set": None}, "as metadata: class_set, got None"),
        ({"input_size": [0, 64]}, "got 0x64"),
        ({"input_size": [1_000_000, 1_000_000]}, "got 1000000x1000000"),
        ({"input_size": [float("inf"), 64]}, "input_size[0], got inf"),
        ({"input_size": [64]}, "input_size, got [64]"),
        ({"std": [1, 1, 0]}, "std (1.0, 1.0, 0.0) is not positive"),
        ({"std": [1, float("nan"), 1]}, "Expected a number as metadata: std[1], got nan"),
        ({"mean": [0, 0]}, "mean, got [0, 0]"),
        ({"mean": "gray"}, "mean, got 'gray'"),
        ({"miou": float("inf")}, "miou, got inf"),
        ({"calibration": {"ranges": {}, "agreement": 0.99}}, "ranges are not a positive number for each layer"),
        ({"calibration": {"ranges": dict.fromkeys(ACTIVATIONS, -1.0), "agreement": 0.99}}, "not a positive number"),
        ({"calibration": {"ranges": RANGES | {ACTIVATIONS[3]: 0.0}, "agreement": 0.99}}, "not a positive number"),
        ({"calibration": {"ranges": [1.0], "agreement": 0.99}}, "ranges, got [1.0]"),
    ],
)
def test_damaged_metadata_is_refused_with_what_is_wrong(file: Path, changes: dict, reason: str) -> None:
    """A header is not believed: an input size of a million squared would take all memory at the first image."""
    broken_metadata(file, lambda content: content.update(changes))
    message = refusal(file)
    assert "metadata" in message
    assert reason in message


@pytest.mark.parametrize("text", ["", "no json", "[]", "3", "[" * 100_000], ids=lambda text: text[:8])
def test_metadata_that_is_no_json_object_is_refused(file: Path, text: str) -> None:
    save_file(load_file(file), file, {"erfnet_ros": text})
    assert "is damaged" in refusal(file)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_file_without_permission_is_refused_with_the_reason(file: Path) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        forbidden = shutil.copy(file, folder)
        Path(forbidden).chmod(0)
        os.seteuid(65534)
        try:
            assert "it cannot be read (Permission denied); check its permissions" in refusal(Path(forbidden))
            assert "no permission to see it" in refusal(file)
        finally:
            os.seteuid(0)


def with_bias(file: Path, bias: torch.Tensor) -> Path:
    """Put another bias into the last layer of a checkpoint file."""
    content = json.dumps(metadata_of(file))
    save_file({**load_file(file), "decoder.output_conv.bias": bias}, file, {"erfnet_ros": content})
    return file


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_tensors_of_another_type_are_refused_by_name(file: Path, dtype: torch.dtype) -> None:
    message = refusal(with_bias(file, torch.zeros(3, dtype=dtype)))
    assert f"of another type: decoder.output_conv.bias ({dtype})" in message


def test_an_unusual_float_type_is_read_as_float32(file: Path) -> None:
    loaded = load(with_bias(file, torch.ones(3).to(torch.float8_e4m3fn)))
    assert torch.equal(loaded.state_dict["decoder.output_conv.bias"], torch.ones(3))


def test_a_stored_infinity_and_a_later_format_are_refused(file: Path) -> None:
    message = refusal(with_bias(file, torch.tensor([0.0, float("inf"), 0.0])))
    assert "NaN or infinity in decoder.output_conv.bias" in message
    broken_metadata(file, lambda content: content.update(format=99))
    assert "checkpoint format 99" in refusal(file)


def test_a_path_that_cannot_be_a_file_is_refused_before_anything_is_written(
    checkpoint: Checkpoint, file: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    for path in (tmp_path, Path(""), Path("/")):
        with pytest.raises(CheckpointError, match="Expected a file name for the checkpoint"):
            save(checkpoint, path)
    for path in (file / "inside_a_file.safetensors", tmp_path / "no" / "such" / "folder.safetensors"):
        with pytest.raises(CheckpointError, match="Cannot write checkpoint"):
            save(checkpoint, path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("value", [1e5, float("nan")])
def test_a_weight_that_float16_does_not_hold_is_refused(checkpoint: Checkpoint, tmp_path: Path, value: float) -> None:
    large = {**checkpoint.state_dict, "decoder.output_conv.bias": torch.tensor([0.0, value, 0.0])}
    message = r"float16 holds \(up to 65504\) .* infinity in decoder\.output_conv\.bias"
    with pytest.raises(CheckpointError, match=message):
        save(replace(checkpoint, state_dict=large), tmp_path / "large.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_installed_checkpoint_can_be_read_by_everyone(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3, "best_acc": 0.7}, lambda s: {"model": s, "epoch": 3}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "module.module.", "_orig_mod.", "model._orig_mod."])
def test_the_authors_files_are_imported(
    checkpoint: Checkpoint, tmp_path: Path, wrap: Callable[[dict], dict], prefix: str
) -> None:
    path = tmp_path / "erfnet.pth.tar"
    torch.save(wrap({prefix + name: tensor for name, tensor in checkpoint.state_dict.items()}), path)
    imported = import_weights(path, CLASSES, (64, 32))
    for name, tensor in checkpoint.state_dict.items():
        torch.testing.assert_close(imported.state_dict[name], tensor)


def test_the_authors_void_logit_is_left_out(tmp_path: Path) -> None:
    """Their networks have 20 outputs for 19 classes; the classes' logits must stay what they are."""
    torch.manual_seed(1)
    network = ERFNet(4).eval()
    torch.save(network.state_dict(), tmp_path / "four.pth")
    imported = build_network(import_weights(tmp_path / "four.pth", CLASSES, (64, 32)))
    image = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(imported(image), network(image)[:, :3])
        torch.testing.assert_close(imported.encoder.predict(image), network.encoder.predict(image)[:, :3])


def test_many_faults_are_counted_after_the_first_five(checkpoint: Checkpoint, tmp_path: Path) -> None:
    tensors = {name: t for name, t in checkpoint.state_dict.items() if not name.startswith("decoder.layers.1.")}
    missing = [name for name in checkpoint.state_dict if name not in tensors]
    torch.save(tensors, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError) as caught:
        import_weights(tmp_path / "odd.pth", CLASSES, (64, 32))
    assert f"missing: {', '.join(missing[:5])} and {len(missing) - 5} more." in str(caught.value)


def test_what_was_left_out_and_filled_in_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The authors' published network ends in a void logit, and its encoder came without a head."""
    tensors = {name: t for name, t in ERFNet(4).state_dict().items() if not name.startswith("encoder.output_conv.")}
    torch.save(tensors, tmp_path / "four.pth")
    with caplog.at_level("INFO"):
        import_weights(tmp_path / "four.pth", CLASSES, (64, 32))
    assert "set to 0: encoder.output_conv.weight, encoder.output_conv.bias." in caplog.text
    assert "has 4 logits; the last, void, is left out" in caplog.text


def test_trained_parameters_are_imported_without_their_gradients(tmp_path: Path) -> None:
    network = ERFNet(3)
    torch.save({**network.state_dict(), **dict(network.named_parameters())}, tmp_path / "parameters.pth")
    imported = import_weights(tmp_path / "parameters.pth", CLASSES, (64, 32))
    assert not any(tensor.requires_grad for tensor in imported.state_dict.values())
    save(imported, tmp_path / "parameters.safetensors")


class Malicious:
    """Runs a command when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "it_ran"
    torch.save({"state_dict": {"a": Malicious(trap)}}, tmp_path / "malicious.pth")
    with pytest.raises(CheckpointError, match=r"was refused: .* \(it asks for posix.mkdir\)") as caught:
        import_weights(tmp_path / "malicious.pth", CLASSES, (64, 32))
    assert not trap.exists()
    assert "weights_only" not in str(caught.value), "PyTorch's advice is to load it unsafely"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((content, "was refused: it is damaged, or") for content in (b"", b"no pickle", b"PK\x03\x04", b"\x80\x02.")),
        (ERFNet(3), r"Save the network's state_dict\(\) alone"),
        ([1, 2], "Expected tensors by name"),
        ({"epoch": 3, "weight": torch.zeros(1)}, r"got epoch \(int\) as well"),
    ],
)
def test_what_is_no_state_dict_is_refused_with_the_remedy(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "odd.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        import_weights(path, CLASSES, (64, 32))


def test_importing_nothing_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Expected a \.pth or \.pth\.tar file at .* got no such file"):
        import_weights(tmp_path / "none.pth", CLASSES, (64, 32))
    with pytest.raises(CheckpointError, match="got a folder"):
        import_weights(tmp_path, CLASSES, (64, 32))
