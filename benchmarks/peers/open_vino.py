"""OpenVINO on the same ONNX model, forward only, in float32."""

from __future__ import annotations

import torch
from problem import Array, Problem, Side, Work

from peers.onnx_runtime import feed, forward_only, model, named_outputs


def build(problem: Problem) -> Work:
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = core.compile_model(core.read_model(model(problem), b""), "CPU", settings)
    request = compiled.create_infer_request()
    for name, value in feed(problem).items():
        request.set_tensor(name, openvino.Tensor(value, shared_memory=True))

    def arrays(_: object) -> dict[str, Array]:
        return named_outputs([request.get_output_tensor(k).data for k in range(len(compiled.outputs))])

    return Work(request.infer, arrays)


SIDE = Side("OpenVINO", "openvino", build, ("onnx", "openvino"), forward_only)
