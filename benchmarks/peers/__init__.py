"""The peers, one library a file; each imports its library only when it is asked to build something."""

from __future__ import annotations

from peers import jax_scan, keras_tensorflow, onnx_runtime, open_vino, torch_cell, torch_layer, torch_loops

TORCH = torch_layer.SIDE
PACKED = torch_layer.PACKED
BFLOAT16 = torch_layer.BFLOAT16
CELL = torch_cell.SIDE
LOOP = torch_loops.LOOP
COMPILED_LOOP = torch_loops.COMPILED
COMPILED_STEPS = torch_loops.COMPILED_STEPS
ONNX_RUNTIME = onnx_runtime.SIDE
OPENVINO = open_vino.SIDE
KERAS = keras_tensorflow.SIDE
KERAS_XLA = keras_tensorflow.XLA
JAX = jax_scan.SIDE

DENSE = (TORCH, CELL, LOOP, COMPILED_LOOP, ONNX_RUNTIME, OPENVINO, KERAS, KERAS_XLA, JAX)
STEP = (TORCH, CELL, ONNX_RUNTIME, OPENVINO, KERAS, KERAS_XLA, JAX)
