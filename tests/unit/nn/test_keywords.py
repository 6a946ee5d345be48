"""Bad values: every keyword with a wrong type or range gives one clear line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cells import CELLS
from holdfast.errors import ConfigError, InputError
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell

X = torch.zeros(6, 3, 4)
NOT_NUMBERS: list[Any] = [
    "0.5",
    None,
    True,
    [0.5, 0.5, 0.5],
    torch.tensor(0.5),
    float("nan"),
    float("inf"),
    1j,
]
BAD_RATES: list[Any] = [*NOT_NUMBERS, -0.1, 1.0, 2]
BAD: list[tuple[dict[str, Any], str]] = [
    *(({"zoneout": value}, "zoneout is ") for value in BAD_RATES),
    *(({"zoneout": (value, 0.1)}, "zoneout of h is ") for value in BAD_RATES),
    *(({"zoneout": (0.1, value)}, "zoneout of c is ") for value in BAD_RATES),
    ({"zoneout": (0.1,)}, r"zoneout is \(0.1,\); it must be one probability, or two: \(h, c\)"),
    ({"zoneout": {"h": 0.1}}, "zoneout is {'h': 0.1}; it must be a probability"),
    ({"zoneout": (0.1, 0.2), "cell": "rnn"}, "the cell 'rnn' has no c: give one number"),
    *(({"recurrent_dropout": value}, "recurrent_dropout is ") for value in BAD_RATES),
    *(({"recurrent_dropout": {"h": value}}, r"recurrent_dropout\['h'\] is ") for value in BAD_RATES),
    *(({"recurrent_dropout": {"g": value}}, r"recurrent_dropout\['g'\] is ") for value in BAD_RATES),
    ({"recurrent_dropout": {"c": 0.1}}, "has the key 'c'; it takes 'g' .* and 'h'"),
    ({"recurrent_dropout": (0.1, 0.1)}, "recurrent_dropout is "),
    *(({"cell_clip": value}, "cell_clip is ") for value in [*NOT_NUMBERS, 0, -1.0] if value is not None),
    ({"cell_clip": 3.0, "cell": "rnn"}, "cell_clip is 3.0, but the cell 'rnn' has no c to clip"),
    *(({"forget_bias": value}, "forget_bias is ") for value in NOT_NUMBERS if value is not None),
    *(
        ({"forget_bias": 1, "cell": name}, f"the cell '{name}' has no gate f")
        for name, cell in CELLS.items()
        if "f" not in cell.gates
    ),
    ({"forget_bias": 1, "bias": False}, "forget_bias=1 sets the bias of f, but bias is False"),
    ({"forget_bias": 1, "init": "chrono", "max_lag": 9}, "but init='chrono' sets that bias"),
    ({"init": "orthogonl"}, "it must be one of torch, orthogonal, chrono. Did you mean 'orthogonal'?"),
    ({"init": None}, "init is None; it must be one of torch, orthogonal, chrono"),
    ({"init": ["torch"]}, r"init is \['torch'\]; it must be one of"),
    ({"init": "chrono"}, "max_lag is None; init='chrono' needs the number of steps, 2 or more"),
    *(({"init": "chrono", "max_lag": value}, "max_lag is ") for value in [*NOT_NUMBERS, 1, -3]),
    ({"init": "chrono", "max_lag": 9, "cell": "original"}, "init='chrono' sets the bias of f, but the cell"),
    ({"init": "chrono", "max_lag": 9, "bias": False}, "init='chrono' sets the bias of f, but bias is False"),
    ({"max_lag": 9}, "max_lag is 9, which only init='chrono' takes; init is 'torch'"),
    ({"backend": "cuda"}, "backend is 'cuda'; it must be one of auto, "),
    ({"backend": None}, "backend is None; it must be one of auto, "),
    ({"cell": "lstn"}, "Did you mean 'lstm'"),
    ({"cell": 3}, "cell is 3; it must be one of lstm"),
]
BAD_OF_LAYERS: list[tuple[dict[str, Any], str]] = [
    *(({"weight_drop": value}, "weight_drop is ") for value in [*NOT_NUMBERS, -0.1, 1.1]),
    *(({"learn_initial_state": value}, "learn_initial_state is ") for value in (1, None, "yes")),
    *(({"residual": value}, "residual is ") for value in (1, None, "yes")),
    *(
        ({"recompute": value}, "recompute is .*; it must be a number of steps, 1 or more, True for")
        for value in [*(bad for bad in NOT_NUMBERS if bad not in (None, True)), 0, -1, 2.5, 3.0, "x", [3]]
    ),
]


def described(case: Any) -> str:
    return repr(case) if isinstance(case, dict) else ""


def check_one_line(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make(4, 5, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 250


@pytest.mark.parametrize(("options", "message"), [*BAD, *BAD_OF_LAYERS], ids=described)
def test_every_keyword_of_the_layer_with_a_wrong_type_or_range_gives_one_clear_line(
    options: dict[str, Any], message: str
) -> None:
    check_one_line(LSTM, options, message)


@pytest.mark.parametrize(("options", "message"), BAD, ids=described)
def test_every_keyword_of_the_cell_with_a_wrong_type_or_range_gives_one_clear_line(
    options: dict[str, Any], message: str
) -> None:
    check_one_line(LSTMCell, options, message)


@pytest.mark.parametrize("name", ["zoneout", "recurrent_dropout", "cell_clip"])
def test_a_wrong_value_that_is_assigned_is_refused_and_changes_nothing(name: str) -> None:
    layer = LSTM(4, 5, zoneout=0.1, recurrent_dropout=0.2, cell_clip=3)
    before = getattr(layer, name), layer._training_cell
    with pytest.raises(ConfigError, match=name):
        setattr(layer, name, -1)
    assert (getattr(layer, name), layer._training_cell) == before


rates = st.floats(0, 1, exclude_max=True)


@given(h=rates, c=rates, g=rates, again=rates, limit=st.floats(1e-3, 1e6))
def test_every_number_in_range_is_taken_and_shown_as_given(
    h: float, c: float, g: float, again: float, limit: float
) -> None:
    layer = LSTM(1, 1, zoneout=(h, c), recurrent_dropout={"g": g, "h": again}, cell_clip=limit)
    assert layer.zoneout == ((h, c) if h or c else 0.0)
    assert layer.recurrent_dropout == ({"g": g, "h": again} if g or again else 0.0)
    assert layer.cell_clip == limit


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "num_layers": st.integers(1, 3),
        "bias": st.just(True),
        "batch_first": st.booleans(),
        "bidirectional": st.booleans(),
        "cell": st.sampled_from([name for name, cell in CELLS.items() if {"f", "i"} <= set(cell.gates)]),
        "recurrent_dropout": st.one_of(
            st.sampled_from([0.0, 0.25]), st.fixed_dictionaries({}, optional={"g": rates, "h": rates})
        ),
        "zoneout": st.one_of(rates, st.tuples(rates, rates)),
        "weight_drop": st.floats(0, 1),
        "cell_clip": st.one_of(st.none(), st.floats(0.1, 10)),
        "forget_bias": st.one_of(st.none(), st.floats(-2, 2)),
        "init": st.sampled_from(["torch", "orthogonal"]),
        "learn_initial_state": st.booleans(),
        "residual": st.booleans(),
        "recompute": st.one_of(st.none(), st.just(True), st.integers(1, 10**6)),
        "backend": st.sampled_from(["auto", "reference"]),
    },
)


@given(options=OPTIONS)
def test_extra_repr_shows_exactly_what_differs_from_the_plain_layer(options: dict[str, Any]) -> None:
    layer = LSTM(2, 3, **options)
    shown = repr(layer)
    again = eval(shown, {"LSTM": LSTM})
    assert repr(again) == shown
    for name in LSTM._plain:
        mine, other = getattr(layer, name), getattr(again, name)
        assert mine == other, name
        assert (f" {name}=" in shown) == ((mine.name if name == "cell" else mine) != LSTM._plain[name]), name


@pytest.mark.parametrize("kind", [LSTM, LSTMCell])
def test_an_unknown_keyword_names_the_class_and_what_may_be_meant(kind: Any) -> None:
    said = rf"^{kind.__name__}.__init__\(\) got an unexpected keyword argument "
    with pytest.raises(TypeError, match=said + r"'zone_out'. Did you mean 'zoneout'\?$"):
        kind(4, 5, zone_out=0.1)
    with pytest.raises(TypeError, match=said + "'q'$"):
        kind(4, 5, q=1)


@pytest.mark.parametrize("kind", [LSTM, LSTMCell])
def test_a_message_shows_no_tensor(kind: Any) -> None:
    check_one_line(
        kind, {"zoneout": torch.ones(50, 50)}, r"zoneout is a tensor of shape \[50, 50\] and torch.float32;"
    )
    with pytest.raises(ConfigError, match="zoneout is a tuple of tensors"):
        kind(4, 5, zoneout=(torch.ones(50, 50),) * 3)


def test_lengths_and_resets_in_a_message_show_no_tensor() -> None:
    layer, x = LSTM(4, 5), torch.zeros(6, 3, 4)
    for name in ("lengths", "reset"):
        with pytest.raises(InputError, match=f"{name} must be .* got a tuple of tensors$"):
            layer(x, **{name: (x, x)})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (LSTM, "cell", "peephole"),
        (LSTMCell, "cell", "peephole"),
        (LSTM, "learn_initial_state", True),
    ],
)
def test_what_decides_the_parameters_cannot_be_assigned_later(kind: Any, name: str, value: Any) -> None:
    layer = kind(4, 5)
    before = repr(layer), getattr(layer, name)
    with pytest.raises(
        ConfigError, match=f"^{name} is fixed when the {kind.__name__} is made: make a new one"
    ):
        setattr(layer, name, value)
    assert (repr(layer), getattr(layer, name)) == before


@pytest.mark.parametrize(
    ("name", "value"), [("residual", 1), ("weight_drop", 2), ("recompute", 0), ("backend", "gpu")]
)
def test_what_can_be_assigned_later_is_checked(name: str, value: Any) -> None:
    layer = LSTM(4, 5)
    with pytest.raises(ConfigError, match=f"^{name} is "):
        setattr(layer, name, value)


def test_a_residual_connection_can_be_assigned_later() -> None:
    layer, x = LSTM(4, 5, 2), torch.randn(6, 3, 4)
    plain = layer(x)[0]
    layer.residual = True
    assert not torch.equal(layer(x)[0], plain)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_the_keywords_survive_copies(duplicate: Any) -> None:
    layer = LSTM(
        4, 5, 2, cell="peephole", weight_drop=0.2, residual=True, learn_initial_state=True, recompute=3
    )
    again, empty = duplicate(layer), LSTM.__new__(LSTM)
    empty.__setstate__(layer.__getstate__())
    for made in (again, empty):
        assert repr(made) == repr(layer)
        assert torch.equal(made.eval()(X)[0], layer.eval()(X)[0])


@pytest.mark.parametrize("zoneout", [0.0, 0.1])
@pytest.mark.parametrize("given", [3, "cpu", torch.zeros(50, 50)])
def test_a_generator_of_another_kind_is_refused_always(zoneout: float, given: Any) -> None:
    layer = LSTM(4, 5, zoneout=zoneout)
    for call in (layer, lambda x, generator: layer.step(x[0], generator=generator)):
        with pytest.raises(InputError, match=r"generator must be a torch.Generator or None, got ") as caught:
            call(X, generator=given)
        assert len(str(caught.value)) < 120


def test_steps_with_equal_generators_draw_the_same_masks() -> None:
    layer = LSTM(4, 5, zoneout=0.5)
    state = (torch.randn(1, 3, 5), torch.randn(1, 3, 5))
    first, again, other = (
        layer.step(X[0], state, generator=torch.Generator().manual_seed(seed))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_rates_of_dropout_are_not_changed_behind_the_layers_back() -> None:
    layer = LSTM(3, 4, recurrent_dropout={"h": 0.2})
    layer.recurrent_dropout["h"] = 0.9  # type: ignore[index]
    assert layer.recurrent_dropout == {"h": 0.2}
    assert "recurrent_dropout={'h': 0.2}" in repr(layer)
