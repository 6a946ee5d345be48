"""Saving and loading: what comes back is what went in, the bytes are fixed, and nothing is half-written."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import ModelFileError
from holdfast.model_file import format as model_format
from holdfast.model_file import limits
from holdfast.model_file.format import Bundle, check_target, expect_tensors, load_bundle, save_bundle

CONFIG = {"task": "text-classification", "classes": ["negative", "positive"], "network": {"hidden": 2}}
TENSORS = {
    "lstm.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "lstm.bias": np.array([1.0, -2.0]),
    "step": np.array(7, dtype=np.int64),
    "mask": np.array([True, False, True]),
    "half": np.array([0.5], dtype=np.float16),
    "nothing": np.zeros((0, 4), dtype=np.int32),
}
FILES = {"tokenizer.json": '{"ü": 1}\n', "README.md": "# A model\n", "loss.png": b"\x89PNG"}
GOLDEN = Path(__file__).parent / "golden_model"


def save(path: Path, **changes: Any) -> Path:
    return save_bundle(path, **{"config": CONFIG, "tensors": TENSORS, "files": FILES, **changes})


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_comes_back_is_what_went_in(tmp_path: Path) -> None:
    bundle = load_bundle(save(tmp_path / "new" / "model"))
    assert bundle.config == CONFIG
    assert bundle.files == {"tokenizer.json": '{"ü": 1}\n', "README.md": "# A model\n"}
    assert set(bundle.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert bundle.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(bundle.tensors[name], tensor)


def test_bytes_are_golden(tmp_path: Path) -> None:
    saved = save(tmp_path / "model")
    assert names(saved) == names(GOLDEN)
    for path in sorted(GOLDEN.iterdir()):
        assert (saved / path.name).read_bytes() == path.read_bytes(), path.name


def test_golden_model_loads() -> None:
    assert load_bundle(GOLDEN).config == CONFIG


def test_order_of_arguments_does_not_matter(tmp_path: Path) -> None:
    backwards = {name: np.array(TENSORS[name], order="F") for name in reversed(list(TENSORS))}
    one, two = save(tmp_path / "one"), save(tmp_path / "two", tensors=backwards)
    for name in names(one):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_tensor_file_equals_the_library_s(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    saved = save(tmp_path / "model")
    assert (saved / "model.safetensors").read_bytes() == library.save(TENSORS)


def test_big_endian_and_strided_arrays_are_stored_right(tmp_path: Path) -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    bundle = load_bundle(save(tmp_path / "model", tensors={"x": array}))
    np.testing.assert_array_equal(bundle.tensors["x"], array)
    assert bundle.tensors["x"].dtype == np.dtype("<f4")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
tensors = st.dictionaries(
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12).filter(
        lambda name: name != "__metadata__"
    ),
    st.sampled_from(["?", "u1", "i1", "<f2", "<i4", "<f4", "<i8", "<f8"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
            elements={"allow_nan": False, "allow_infinity": False} if "f" in dtype else None,
        )
    ),
    max_size=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=st.dictionaries(st.text(max_size=6), json_values, max_size=4), arrays=tensors)
def test_any_config_and_tensors_survive(
    tmp_path: Path, config: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    config = {key: value for key, value in config.items() if not key.startswith("format")}
    config["task"] = "text-classification"
    path = tmp_path / "model"
    bundle = load_bundle(save_bundle(path, config=config, tensors=arrays, overwrite=True))
    assert bundle.config == config
    assert set(bundle.tensors) == set(arrays)
    for name, array in arrays.items():
        assert bundle.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(bundle.tensors[name], array)


def test_a_model_is_replaced_only_when_allowed(tmp_path: Path) -> None:
    path = save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="already holds a holdfast model"):
        save(path, tensors={})
    assert set(load_bundle(path).tensors) == set(TENSORS)
    save(path, tensors={}, files={}, overwrite=True)
    assert load_bundle(path).tensors == {}
    assert names(tmp_path) == ["model"]


def test_other_people_s_files_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for name, message in (("thesis", "directory with other content"), ("file", "is a file")):
        with pytest.raises(ModelFileError, match=message):
            save(tmp_path / name, overwrite=True)
        with pytest.raises(ModelFileError, match=message):
            check_target(tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert names(tmp_path) == ["file", "thesis"]


def test_a_model_with_foreign_files_is_not_replaced(tmp_path: Path) -> None:
    path = save(tmp_path / "model")
    (path / "notes.txt").write_text("keep me")
    with pytest.raises(ModelFileError, match=r"'notes\.txt'"):
        save(path, overwrite=True)
    assert load_bundle(path).config == CONFIG


def test_an_empty_directory_is_used_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty", target_is_directory=True)
    saved = save(tmp_path / "link")
    assert saved == (tmp_path / "empty").resolve()
    assert (tmp_path / "link").is_symlink()
    assert load_bundle(tmp_path / "link").config == CONFIG


def test_a_failed_save_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "model")
    before = {name: (path / name).read_bytes() for name in names(path)}

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    for failure, error in ((full_disk, ModelFileError), (interrupted, KeyboardInterrupt)):
        monkeypatch.setattr(model_format, "write_tensors", failure)
        with pytest.raises(error):
            save(path, overwrite=True)
        assert {name: (path / name).read_bytes() for name in names(path)} == before
        assert names(tmp_path) == ["model"]


def test_a_failed_renaming_puts_the_old_model_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "model")
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(ModelFileError, match="Input/output error"):
        save(path, tensors={}, overwrite=True)
    assert set(load_bundle(path).tensors) == set(TENSORS)
    assert names(tmp_path) == ["model"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = save(tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert stat.S_IMODE((path / "config.json").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"task": "cooking"}}, "the task is 'cooking'"),
        ({"config": {}}, "the task is None"),
        ({"config": {**CONFIG, "format_version": 1}}, "written by the format itself"),
        ({"config": {**CONFIG, "x": float("nan")}}, r"\['x'\] is nan"),
        ({"config": {**CONFIG, "x": [{1: 2}]}}, r"\['x'\]\[0\] has the key 1"),
        ({"config": {**CONFIG, "x": {1, 2}}}, "is a set"),
        ({"config": {**CONFIG, "x": "\ud800"}}, "surrogate"),
        ({"config": {**CONFIG, "x": "a" * (1 << 20)}}, "at most 1,048,576"),
        ({"tensors": {"w": np.array([1.0, np.nan])}}, "'w' holds numbers that are not finite"),
        ({"tensors": {"w": np.array([1.0, -np.inf], np.float16)}}, "'w' holds numbers that are not finite"),
        ({"tensors": {"w": np.array([1j])}}, "'w' has the type complex128"),
        ({"tensors": {"w": np.array(["a"])}}, "'w' has the type <U1"),
        ({"tensors": {"w": np.array([object()])}}, "'w' has the type object"),
        ({"tensors": {"": np.zeros(1)}}, "'' has a name"),
        ({"tensors": {"a\nb": np.zeros(1)}}, "has a name"),
        ({"tensors": {"__metadata__": np.zeros(1)}}, "__metadata__"),
        ({"tensors": {"w": np.zeros((1,) * 9)}}, "at most 8"),
        ({"files": {"../evil": "x"}}, "a model has no file '../evil'"),
        ({"files": {"config.json": "{}"}}, "a model has no file 'config.json'"),
        ({"files": {"metrics.json": '{"a": NaN}'}}, "NaN"),
        ({"files": {"metrics.json": "x" * (1 << 20) + "y"}}, "metrics.json has 1,048,577 bytes"),
        ({"files": {"README.md": b"\xff"}}, "README.md is not UTF-8"),
        ({"files": {"README.md": "\ud800"}}, "README.md"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        save(tmp_path / "model", **changes)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_expected_tensors_are_compared_by_name_and_shape() -> None:
    bundle = Bundle({}, {"a": np.zeros((2, 3)), "b": np.zeros(2)}, {}, Path("m"))
    expect_tensors(bundle, {"a": (2, 3), "b": (2,)})
    for shapes, message in (
        ({"a": (2, 3), "b": (3,)}, r"'b' has the shape \[2\], but config.json implies \[3\]"),
        ({"a": (2, 3), "b": (2,), "c": (1,)}, r"lacks the tensor 'c' of shape \[1\]"),
        ({"a": (2, 3)}, "has the tensor 'b', which nothing needs"),
    ):
        with pytest.raises(ModelFileError, match=message):
            expect_tensors(bundle, shapes)
    parts = Bundle({}, {"network.a": np.zeros(2), "other": np.zeros(1)}, {}, Path("m"))
    expect_tensors(parts, {"network.a": (2,)}, prefix="network.")
    with pytest.raises(ModelFileError, match=r"'network\.a', which nothing needs"):
        expect_tensors(parts, {}, prefix="network.")


def test_the_specification_names_every_limit() -> None:
    text = (Path(__file__).parents[3] / "docs" / "format.md").read_text(encoding="utf-8")
    for name, value in vars(limits).items():
        if name.startswith("MAX_"):
            assert f"| `{name}` | {value:,} |" in text
    for name in [*limits.TEXT_FILES, *limits.PICTURE_FILES, *limits.TASKS, *limits.ITEM_BYTES]:
        assert f"`{name}`" in text


def test_the_specification_s_example_is_the_golden_model() -> None:
    text = (Path(__file__).parents[3] / "docs" / "format.md").read_text(encoding="utf-8")
    for name in ("config.json", "model.safetensors"):
        assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() in text
    assert (GOLDEN / "config.json").read_text(encoding="utf-8") in text
    start = (GOLDEN / "model.safetensors").read_bytes()
    header = start[8 : 8 + int.from_bytes(start[:8], "little")].decode()
    assert header.rstrip().replace('},"', '},\n"') in text
