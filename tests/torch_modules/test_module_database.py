"""What PyTorch asks of its own recurrent modules, by its database of them, asked of ours in their place.

The database (`torch.testing._internal.common_modules`) needs the package expecttest; without it the tests are
skipped. What is asked follows PyTorch's test/test_modules.py.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import holdfast
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell

OURS: dict[type[nn.Module], type[nn.Module]] = {nn.LSTM: LSTM, nn.LSTMCell: LSTMCell}
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))

each_module = pytest.mark.parametrize("theirs", OURS, ids=lambda module: module.__name__)
each_device = pytest.mark.parametrize("device", ["cpu", CUDA])
both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


@pytest.fixture(scope="module")
def database() -> Any:
    # Its import forbids setting torch.backends; other tests may.
    found = pytest.importorskip("torch.testing._internal.common_modules", exc_type=ImportError)
    torch.backends.__allow_nonbracketed_mutation_flag = True  # type: ignore[attr-defined]
    return found


@pytest.fixture
def samples(database: Any, theirs: type[nn.Module]) -> Callable[..., Iterator[tuple[nn.Module, Any]]]:
    """Yields our module and the database's sample, for each sample of PyTorch's module."""
    (info,) = (info for info in database.module_db if info.module_cls is theirs)

    def made(device: str = "cpu", dtype: torch.dtype = torch.float32, **options: Any) -> Any:
        options = {"training": True, "requires_grad": False, **options}
        for sample in info.module_inputs_func(info, device=device, dtype=dtype, **options):
            given = sample.constructor_input
            module = OURS[theirs](*given.args, **given.kwargs, device=device, dtype=dtype)
            yield module.train(options["training"]), sample

    return made


def called(module: nn.Module, sample: Any) -> Any:
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def tensors(values: Any) -> list[Tensor]:
    """The tensors in nested tuples, flat."""
    if isinstance(values, Tensor):
        return [values]
    return [tensor for value in values or () for tensor in tensors(value)]


def noncontiguous(values: Any) -> Any:
    """The same values, each tensor with gaps in memory."""
    if not isinstance(values, Tensor):
        return values if values is None else tuple(map(noncontiguous, values))
    apart = torch.stack([values.detach(), torch.full_like(values, float("nan"))], dim=-1)[..., 0]
    assert apart.numel() < 2 or not apart.is_contiguous()
    return apart.requires_grad_(values.requires_grad)


@each_module
@each_device
@both_modes
@pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN"
)  # PyTorch's layer warns
def test_forward(samples: Any, theirs: type[nn.Module], device: str, training: bool) -> None:
    for module, sample in samples(device, training=training):
        given = sample.constructor_input
        twin = theirs(*given.args, **given.kwargs, device=device).train(training)
        twin.load_state_dict(module.state_dict())
        found = called(module, sample)
        assert_close(tensors(found), tensors(called(twin, sample)))
        inputs, keywords = sample.forward_input.args, sample.forward_input.kwargs
        if sample.reference_fn is not None:
            expected = sample.reference_fn(module, *inputs, **keywords)
            assert_close(tensors(found), tensors(expected))


@each_module
@each_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_factory_keywords(samples: Any, device: str, dtype: torch.dtype) -> None:
    for module, _ in samples(device, dtype):
        assert all(own.device.type == device for own in module.parameters())
        assert all(own.dtype == dtype for own in module.parameters())


@each_module
def test_a_module_on_the_meta_device_becomes_real(samples: Any) -> None:
    for module, sample in samples("meta"):
        assert all(own.is_meta for own in module.parameters())
        assert all(output.is_meta for output in tensors(called(module, sample)))
        real: Any = module.to_empty(device="cpu")
        assert not any(own.is_meta for own in real.parameters())
        real.reset_parameters()
        assert all(own.isfinite().all() for own in real.parameters())


@each_module
@pytest.mark.parametrize("swap", [False, True])
def test_conversion_of_the_type(samples: Any, swap: bool) -> None:
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for module, sample in samples():
            with torch.no_grad():  # a graph would hold on to what is swapped
                expected = called(module, sample)
            doubled = [tensor.double() for tensor in tensors(sample.forward_input.args)]
            module.to(torch.float64)
            assert all(own.dtype == torch.float64 for own in module.parameters())
            state = tuple(doubled[1:]) or None
            assert_close(
                tensors(module(doubled[0], state)), tensors(expected), check_dtype=False, rtol=1e-4, atol=1e-5
            )
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@each_module
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_transfer_between_devices(samples: Any) -> None:
    for module, sample in samples():
        expected = tensors(called(module, sample))
        inputs = [tensor.cuda() for tensor in tensors(sample.forward_input.args)]
        for _ in range(2):
            module.cuda()
            found = tensors(module(inputs[0], tuple(inputs[1:]) or None))
            assert all(tensor.is_cuda for tensor in found)
            module.cpu()
            assert_close(tensors(called(module, sample)), expected)
        assert_close([tensor.cpu() for tensor in found], expected, rtol=1e-4, atol=1e-5)


@each_module
def test_representation(samples: Any, theirs: type[nn.Module]) -> None:
    for module, sample in samples():
        given = sample.constructor_input
        assert repr(module) == repr(theirs(*given.args, **given.kwargs))


@each_module
def test_saving_and_loading_the_state(samples: Any) -> None:
    for module, sample in samples():
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        given = sample.constructor_input
        twin = type(module)(*given.args, **given.kwargs)
        twin.load_state_dict(torch.load(file, weights_only=True))
        assert_close(tensors(called(twin, sample)), tensors(called(module, sample)), rtol=0, atol=0)


@each_module
@both_modes
@pytest.mark.parametrize("how", ["pickle", "torch.save", "deepcopy"])
def test_copying_the_module(samples: Any, how: str, training: bool) -> None:
    for module, sample in samples(training=training):
        expected = called(module, sample)
        if how == "deepcopy":
            twin = copy.deepcopy(module)
        elif how == "pickle":
            twin = pickle.loads(pickle.dumps(module))
        else:
            file = io.BytesIO()
            torch.save(module, file)
            file.seek(0)
            twin = torch.load(file, weights_only=False)
        assert twin.training == training
        assert_close(tensors(called(twin, sample)), tensors(expected), rtol=0, atol=0)


@each_module
@each_device
@both_modes
def test_inputs_that_are_not_contiguous(samples: Any, device: str, training: bool) -> None:
    for module, sample in samples(device, torch.float64, training=training, requires_grad=True):

        def differentiated(inputs: Any, module: nn.Module = module) -> list[Tensor]:
            outputs = tensors(module(*inputs))
            leaves = [*tensors(inputs), *module.parameters()]
            upstream = [noncontiguous(torch.ones_like(output)) for output in outputs]
            return [*outputs, *torch.autograd.grad(outputs, leaves, upstream)]

        inputs = sample.forward_input.args
        assert_close(differentiated(noncontiguous(inputs)), differentiated(inputs), rtol=1e-12, atol=1e-14)


@each_module
@each_device
def test_memory_format(samples: Any, device: str) -> None:
    for module, sample in samples(device):
        expected = tensors(called(module, sample))
        module.to(memory_format=torch.channels_last)
        assert_close(tensors(called(module, sample)), expected, rtol=0, atol=0)


def function_of_tensors(module: nn.Module, sample: Any) -> tuple[Callable[..., Any], list[Tensor]]:
    """The call as a function of its inputs and parameters."""
    inputs = tensors(sample.forward_input.args)
    names = [name for name, _ in module.named_parameters()]

    def function(*leaves: Tensor) -> Any:
        state = tuple(leaves[1 : len(inputs)]) or None
        own = dict(zip(names, leaves[len(inputs) :], strict=True))
        return tuple(tensors(torch.func.functional_call(module, own, (leaves[0], state))))

    return function, [*inputs, *module.parameters()]


@each_module
@each_device
@both_modes
def test_gradients(samples: Any, device: str, training: bool) -> None:
    for module, sample in samples(device, torch.float64, training=training, requires_grad=True):
        with torch.backends.cudnn.flags(enabled=False):
            assert torch.autograd.gradcheck(*function_of_tensors(module, sample), fast_mode=True)


@each_module
@each_device
@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_second_gradients(samples: Any, device: str, training: bool) -> None:
    for module, sample in samples(device, torch.float64, training=training, requires_grad=True):
        with torch.backends.cudnn.flags(enabled=False):  # cuDNN has none
            assert torch.autograd.gradgradcheck(*function_of_tensors(module, sample), fast_mode=True)


@each_module
@both_modes
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cpu_and_gpu_agree(samples: Any, training: bool) -> None:
    for module, sample in samples("cpu", torch.float64, training=training, requires_grad=True):
        function, leaves = function_of_tensors(module, sample)
        expected = tensors(function(*leaves))
        gradients = torch.autograd.grad([output.sum() for output in expected], leaves)
        moved = [leaf.detach().cuda().requires_grad_() for leaf in leaves]
        found = tensors(function(*moved))
        found_gradients = torch.autograd.grad([output.sum() for output in found], moved)
        assert_close([tensor.cpu() for tensor in found], expected)
        assert_close([tensor.cpu() for tensor in found_gradients], list(gradients))


@each_module
@both_modes
def test_errors(database: Any, theirs: type[nn.Module], training: bool) -> None:
    (info,) = (info for info in database.module_db if info.module_cls is theirs)
    found = list(
        info.module_error_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=False, training=training
        )
    )
    assert found
    for case in found:
        given, call = case.module_error_input.constructor_input, case.module_error_input.forward_input
        if case.error_on is database.ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(case.error_type, match=case.error_regex):
                OURS[theirs](*given.args, **given.kwargs)
        else:
            module = OURS[theirs](*given.args, **given.kwargs)
            with pytest.raises(case.error_type, match=case.error_regex):
                module(*call.args, **call.kwargs)


def test_the_names_are_public() -> None:
    assert (holdfast.LSTM, holdfast.LSTMCell) == (LSTM, LSTMCell)
