"""ONNX Runtime: one LSTM node over the sequence, forward only."""

from __future__ import annotations

import numpy as np
import torch
from problem import Array, Arrays, Problem, Side, Work


def _iofc(rows: Array) -> Array:
    """ONNX's order of the gates, i, o, f, c, from ours, i, f, g, o."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, o, f, g])


def model(problem: Problem) -> bytes:
    """A model of one LSTM node; for a step it also takes and gives the state."""
    from onnx import TensorProto, helper, numpy_helper

    shape, weights = problem.shape, problem.weights
    states = {f"initial_{name}": (1, shape.B, shape.H) for name in "hc" if problem.state is not None}
    constants = {
        "W": _iofc(weights["weight_ih_l0"])[None],
        "R": _iofc(weights["weight_hh_l0"])[None],
        "bias": np.concatenate([_iofc(weights["bias_ih_l0"]), _iofc(weights["bias_hh_l0"])])[None],
    }
    outputs = {"Y": (shape.T, 1, shape.B, shape.H)}
    if states:
        outputs |= {"Y_h": (1, shape.B, shape.H), "Y_c": (1, shape.B, shape.H)}
    inputs = {"X": problem.x.shape, **states}
    node = helper.make_node("LSTM", ["X", "W", "R", "bias", "", *states], list(outputs), hidden_size=shape.H)

    def infos(named: dict[str, tuple[int, ...]]) -> list[object]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in named.items()]

    graph = helper.make_graph(
        [node],
        "lstm",
        infos(inputs),
        infos(outputs),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return bytes(made.SerializeToString())


def feed(problem: Problem) -> Arrays:
    """The inputs of `model`."""
    named = {"X": problem.x}
    if problem.state is not None:
        named |= {"initial_h": problem.state[0][None], "initial_c": problem.state[1][None]}
    return named


def named_outputs(outputs: list[Array]) -> Arrays:
    """Those of `model` under the names of ours."""
    named = {"output": outputs[0][:, 0]}
    if len(outputs) > 1:
        named = {"output": outputs[0][0, 0], "h": outputs[1][0], "c": outputs[2][0]}
    return named


def build(problem: Problem) -> Work:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
    bound = session.io_binding()  # a few microseconds quicker than session.run
    for name, value in feed(problem).items():
        bound.bind_cpu_input(name, value)
    for output in session.get_outputs():
        bound.bind_output(output.name)

    def arrays(_: object) -> Arrays:
        return named_outputs(bound.copy_outputs_to_cpu())

    return Work(lambda: session.run_with_iobinding(bound), arrays)


def forward_only(problem: Problem) -> str | None:
    return "it does not train" if problem.training else None


SIDE = Side("ONNX Runtime", "onnxruntime", build, ("onnx", "onnxruntime"), forward_only)
