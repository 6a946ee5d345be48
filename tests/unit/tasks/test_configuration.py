"""Options from files, settings and keywords: which wins, what is refused, and the way back to YAML."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConfigError
from holdfast.tasks.configuration import MAX_CONFIG_FILE_BYTES, configure, parse, to_yaml
from holdfast.tasks.text_classification.options import DataOptions, TextClassificationOptions
from holdfast.training.options import TrainingOptions

Kind = TextClassificationOptions


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "options.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    assert configure(Kind) == Kind()
    for empty in ("", "# only a remark\n", "network:\n", "network: {}\n"):
        assert configure(Kind, file=written(tmp_path, empty)) == Kind()


def test_later_ones_win(tmp_path: Path) -> None:
    file = written(
        tmp_path, "training: {epochs: 2, seed: 2, patience: 2, batch_size: 2}\nnetwork: {hidden: 2}"
    )
    options = configure(
        Kind,
        file=file,
        values={"seed": 3, "training": {"patience": 3, "batch_size": 3}},
        settings=["training.patience=4", "training.patience=5", "epochs=6"],
    )
    training = options.training
    assert (training.epochs, training.seed, training.patience, training.batch_size) == (6, 3, 5, 3)
    assert options.network.hidden == 2
    assert options.tokens == Kind().tokens


def test_ways_to_write_a_value() -> None:
    options = configure(
        Kind,
        settings=[
            "network.pooling=[last, attention]",
            " learning_rate = 1e-3",
            "data.text=body",
            "data.label_separator='|'",
            "naive=false",
            "tokens.max_tokens=null",
            "weight_decay=1",
        ],
    )
    assert options.network.pooling == ("last", "attention")
    assert options.training.learning_rate == 0.001
    assert (options.data.text, options.data.label_separator) == ("body", "|")
    assert options.parts.naive is False
    assert options.tokens.max_tokens is None
    assert type(options.training.weight_decay) is float


def test_a_group_may_be_an_object() -> None:
    assert configure(Kind, values={"training": TrainingOptions(epochs=9)}).training.epochs == 9


SETTINGS = {
    "training.epochs": "--set training.epochs: give it as group.key=value, such as training.epochs=3",
    "trainng.epochs=3": "Did you mean training.epochs?",
    "training.epoch=3": "there is no option 'training.epoch'. Did you mean training.epochs?",
    "hiden=3": "there is no option 'hiden'. Did you mean network.hidden?",
    "xyzzy=3": "`holdfast init TASK` prints every option.",
    "training=3": "training is a group of options; set one of its keys: training.KEY",
    "training.epochs=many": "training.epochs: Input should be a valid integer",
    "training.epochs=2.5": "training.epochs: Input should be a valid integer",
    "training.epochs=true": "training.epochs is no yes-or-no option, got True",
    "training.epochs=0": "training: epochs is 0; it must be at least 1 and at most 10000",
    "training.warmup=.nan": "warmup is nan",
    "training.schedule=linear": "training.schedule: Input should be 'cosine' or 'plateau', got 'linear'",
    "network.pooling=max": "network.pooling: Input should be a valid tuple, got 'max'",
    "network.pooling=[median]": "Input should be 'last', 'mean', 'max' or 'attention', got 'median'",
    "network.hidden=" + "9" * 400: "hidden",
    "parts.lstm=perhaps": "parts.lstm: Input should be a valid boolean",
    "data.text=[1": "'[1' is not a YAML value",
    "data.text=2020-13-45": "'2020-13-45' is not a YAML value",
    "data.text=" + "[" * 5000: "is not a YAML value",
    "data.text=no": "data.text is no yes-or-no option",
    "data.test_share=0.9": "test_share is 0.9; it must be at least 0 and at most 0.5",
}


@pytest.mark.parametrize(("setting", "message"), SETTINGS.items(), ids=[name[:30] for name in SETTINGS])
def test_a_wrong_setting_says_what_is_wrong(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(Kind, settings=[setting])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden": 3}, "hiden= there is no option 'hiden'. Did you mean network.hidden?"),
        ({"network": 3}, "network is a group of options"),
        ({"network": {"hiden": 3}}, "there is no option 'network.hiden'. Did you mean network.hidden?"),
        ({"epochs": "many"}, "training.epochs: Input should be a valid integer"),
        ({"hidden": [1] * 1000}, "got [1, 1, 1, 1, 1, 1, ...]"),
    ],
)
def test_a_wrong_keyword_says_what_is_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(Kind, values=values)
    assert message in str(caught.value)


def test_a_key_of_two_groups_needs_its_group() -> None:
    @dataclasses.dataclass(frozen=True)
    class Twice(TextClassificationOptions):
        other: TrainingOptions = TrainingOptions()

    globals()["Twice"] = Twice
    with pytest.raises(
        ConfigError, match=r"epochs could be training\.epochs or other\.epochs; give the group"
    ):
        configure(Twice, settings=["epochs=3"])
    assert configure(Twice, settings=["other.epochs=3"]).other.epochs == 3


FILES: dict[str, tuple[str | bytes, str]] = {
    "a list": ("- 1\n- 2\n", "holds a list; it must hold groups of options"),
    "a text": ("hello", "holds a str"),
    "a number": ("3", "holds a int"),
    "unknown group": ("trainng: {epochs: 3}", "there is no group 'trainng'; the groups are data, tokens"),
    "unknown key": (
        "training:\n  epoch: 3",
        "there is no option 'training.epoch'. Did you mean training.epochs?",
    ),
    "key of another type": ("training: {1: 2}", "there is no option 'training.1'"),
    "group of another type": ("1: 2", "there is no group 1"),
    "no group": ("training: 3", "training must hold options, got 3"),
    "a list as group": ("training: [1, 2]", "training must hold options, got [1, 2]"),
    "wrong type": ("training:\n  epochs: many", "training.epochs: Input should be a valid integer"),
    "out of range": ("training:\n  epochs: -1", "epochs is -1; it must be at least 1"),
    "not YAML": ("training:\n  epochs: [1\n", "line 3: not readable as YAML"),
    "a date that is none": ("data:\n  text: 2020-13-45\n", "not readable as YAML: month must be in 1..12"),
    "Python objects": ("training: !!python/object/apply:os.getcwd []", "not readable as YAML"),
    "not UTF-8": (b"data:\n  text: \xff\xfe\n", "not readable as YAML"),
    "nested too deeply": ("[" * 5000, "not readable as YAML"),
    "too big": (
        b"#" * (MAX_CONFIG_FILE_BYTES + 1),
        f"{MAX_CONFIG_FILE_BYTES + 1} bytes is no configuration file",
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("settings", [(), ("training.epochs=2",)])
def test_a_wrong_file_says_where_and_what(tmp_path: Path, name: str, settings: tuple[str, ...]) -> None:
    content, message = FILES[name]
    if settings and name in ("wrong type", "out of range"):
        assert configure(Kind, file=written(tmp_path, content), settings=settings).training.epochs == 2
        return
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        configure(Kind, file=path, settings=settings)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_of_aliases_stays_small(tmp_path: Path) -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    for text in ("\n".join(lines), "\n".join([*lines, "training: *a11"])):
        with pytest.raises(ConfigError) as caught:
            configure(Kind, file=written(tmp_path, text))
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no such configuration file; `holdfast init TASK"):
        configure(Kind, file=tmp_path / name)


def test_the_source_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^model/config\.json: options: there is no group 'x'"):
        parse(Kind, {"x": {}}, "model/config.json: options")


def test_yaml_of_the_defaults_gives_the_defaults(tmp_path: Path) -> None:
    text = to_yaml(Kind())
    assert configure(Kind, file=written(tmp_path, text)) == Kind()
    assert max(map(len, text.splitlines())) <= 160


def test_yaml_shows_every_option_with_its_meaning_and_range() -> None:
    lines = to_yaml(Kind()).splitlines()
    for group in dataclasses.fields(Kind):
        at = lines.index(f"{group.name}:")
        assert lines[at - 1].startswith("# ")
        for field in dataclasses.fields(getattr(Kind(), group.name)):
            (line,) = [line for line in lines[at:] if line.startswith(f"  {field.name}:")][:1]
            assert field.metadata["meaning"] in line
            assert len(field.metadata["meaning"]) >= 8
    text = "\n".join(lines)
    assert "(1 to 10000)" in text
    assert "(1 or more)" in text


@given(
    text=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    share=st.floats(0.01, 0.5),
    rate=st.floats(1e-9, 10),
    pooling=st.lists(st.sampled_from(["last", "mean", "max", "attention"]), unique=True),
    switch=st.booleans(),
    epochs=st.integers(1, 10_000),
)
def test_yaml_parses_back_to_the_same_options(
    text: str | None, share: float, rate: float, pooling: list[Any], switch: bool, epochs: int
) -> None:
    options = Kind(data=DataOptions(text=text, label=text, valid_share=share))
    options = dataclasses.replace(
        options,
        network=dataclasses.replace(options.network, pooling=tuple(pooling), bidirectional=switch),
        training=dataclasses.replace(options.training, learning_rate=rate, epochs=epochs),
    )
    assert parse(Kind, yaml.safe_load(to_yaml(options)), "test") == options
