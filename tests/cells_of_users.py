"""Cells as users may write them, with what the built-in ones do not have: cuts that follow each other."""

from __future__ import annotations

from holdfast.cells import (
    Cell,
    Expression,
    Parameter,
    absolute,
    exp,
    log,
    maximum,
    named,
    normalise,
    product,
    relu,
    sigmoid,
    sqrt,
    tanh,
    where,
)

Values = dict[str, Expression]


def pointwise(f: Expression, g: Expression, c: Expression, rate: Expression) -> Values:
    """Every function that a cell may call; c has two names, and the way back reads the inputs."""
    grown = where(g < 0, exp(g), log(1 + relu(g)) + sqrt(1 + g * g))
    new = sigmoid(f) * c + maximum(tanh(grown), absolute(rate * g)) / (1 + g * g)
    return named(f_in=f, g_in=g, c=new, same=new, h=tanh(new))


def nested(f: Expression, g: Expression, c: Expression, gain: Expression) -> Values:
    """Normalised pre-activations, which no gate splits; and what is normalised is normalised again."""
    n_f, n_g = normalise(f, g)
    new = sigmoid(n_f) * c + (1 - sigmoid(n_f)) * tanh(n_g)
    (once,) = normalise(new)
    (twice,) = normalise(once * gain + g)
    return named(f_in=f, g_in=g, c=new, once=once, h=tanh(twice))


def partly_split(
    f: Expression, x_g: Expression, r_g: Expression, b_g: Expression, c: Expression, gain: Expression
) -> Values:
    """One gate of two in parts."""
    (x,), (r,) = normalise(x_g), normalise(r_g)
    f, g = sigmoid(f), tanh(gain * x * r + b_g)
    c = f * c + (1 - f) * g
    return named(f=f, g=g, c=c, h=tanh(c))


def multiplied(f: Expression, g: Expression, c: Expression, m: Expression) -> Values:
    """Two blocks of a matrix that no value names but that the way back needs, and a product of a product."""
    seen, left, _unused = product("weight_two", c, m, blocks=3)
    (again,) = product("weight_one", seen)
    g = tanh(g)
    (other,) = product("weight_one", g)
    f = sigmoid(f + again)
    c = f * c + g * left * other
    return named(f=f, g=g, c=c, m=again * seen, h=tanh(c))


def state_of_a_product(f: Expression, c: Expression, m: Expression) -> Values:
    """A state that a product gives and an old one that nothing else reads; the next m is h itself too."""
    f = sigmoid(f)
    (m,) = product("weight_one", m)
    (c,) = product("weight_one", f * c)
    h = tanh(c) * f
    return named(f=f, m=m, c=c, h=h)


def summed(x_g: Expression, r_g: Expression, b_g: Expression, m: Expression) -> Values:
    """No c; sums of products of sums, and h under another name."""
    (x,) = normalise(x_g)
    part = x * m + b_g
    (seen,) = product("weight_one", part)
    (again,) = normalise(seen + r_g)
    (more,) = product("weight_one", again)
    h = tanh(more) * x
    return named(part=part, seen=seen, more=more, m=h, h=h)


def averaging(f: Expression, g: Expression, c: Expression, m: Expression) -> Values:
    """The gradient of m is read after that of the old m is known; more is made of nothing that is kept."""
    (more,) = product("weight_one", c * m)
    f, g = sigmoid(f + more), tanh(g)
    c = f * c + (1 - f) * g
    (n,) = normalise(c)
    return named(f=f, g=g, c=c, m=0.5 * m + c, h=tanh(n) * g)


def badly_called(
    z: Expression,
    α: Expression,  # noqa: PLC2401
    V: Expression,
    new: Expression,
    double: Expression,
) -> Values:
    """Names that mean something else in the printed code."""
    (at,) = normalise(new)
    z, select = sigmoid(z), tanh(α + at)
    value = z * V + select * double
    return named(z=z, select=select, NULL=z * select, V=value, new=value * select, h=tanh(value))


def badly_called_too(
    f: Expression, M: Expression, value: Expression, old: Expression, z: Expression
) -> Values:
    """Names that mean something else in the code of a fused step."""
    number, select = sigmoid(f), tanh(M)
    d_state = number * value + select * old
    mask = where(number < 0.5, number * d_state, select)
    return named(
        number=number, select=select, d_state=d_state, value=d_state, mask=mask, old=mask * z, h=tanh(mask)
    )


def aliased(f: Expression, g: Expression, m: Expression, n: Expression) -> Values:
    """h by an earlier name, and another state that is made of h."""
    f, g = sigmoid(f), tanh(g)
    h = f * m + (1 - f) * g
    return named(f=f, g=g, m=h, h=h, n=0.5 * n + 0.5 * h)


def only_h(a: Expression) -> Values:
    """The least that a cell can be."""
    return named(h=tanh(a))


ONE = Parameter("weight_one", ("a",), "a matrix", columns=1)
TWO = Parameter("weight_two", ("a", "b", "c"), "three blocks of a matrix with two parts", columns=2)
USERS = (
    Cell("pointwise", pointwise, ("f", "g"), ("h", "c"), (Parameter("rate", ("rate",), "a rate"),)),
    Cell("nested", nested, ("f", "g"), ("h", "c"), (Parameter("gain", ("gain",), "a gain"),)),
    Cell(
        "partly_split",
        partly_split,
        ("f", "g"),
        ("h", "c"),
        (Parameter("gain", ("gain",), "a gain"),),
        (),
        ("g",),
    ),
    Cell("multiplied", multiplied, ("f", "g"), ("h", "c", "m"), (ONE, TWO)),
    Cell("state_of_a_product", state_of_a_product, ("f",), ("h", "c", "m"), (ONE,)),
    Cell("summed", summed, ("g",), ("h", "m"), (ONE,), (), ("g",)),
    Cell("averaging", averaging, ("f", "g"), ("h", "c", "m"), (ONE,)),
    Cell(
        "double",
        badly_called,
        ("z", "α"),
        ("h", "V", "new"),
        (Parameter("weight", ("double",), "a weight"),),
    ),
    Cell(
        "lstm",
        badly_called_too,
        ("f", "M"),
        ("h", "value", "old"),
        (Parameter("weight", ("z",), "a weight"),),
    ),
    Cell("aliased", aliased, ("f", "g"), ("h", "m", "n")),
    Cell("only_h", only_h, ("a",), ("h",)),
)
