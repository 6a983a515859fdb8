"""A GPU for machines that have none. Within `elsewhere()` tensors and modules can be moved to "cuda", say that they are
there, and refuse what is here, as they would on a GPU. They compute as they do here, so that all that comes out must be
the same to the last bit.

A tensor is there if its memory is (`Moved`). `_Functions` sees what names a device, `_Operations` what meets what.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HERE, THERE = torch.device("cpu"), torch.device("cuda:0")
_OPS = torch.ops.aten
_COPIES = (_OPS.copy_, _OPS._to_copy)
_INDEXED = (_OPS.index, _OPS.index_put, _OPS.index_put_, _OPS._unsafe_index, _OPS._index_put_impl_)
# Elsewhere a number in a tensor may be here and the rest there.
_NO_NUMBERS = (_OPS.cat, _OPS.stack, _OPS.gather, _OPS.index_select, _OPS.scatter, _OPS.nll_loss_forward)


class Moved:
    """The tensors whose memory is there."""

    def __init__(self):
        self._memory: dict[int, StorageWeakRef] = {}

    def __contains__(self, value) -> bool:
        if not _is_tensor(value):
            return False
        found = self._memory.get(value.untyped_storage()._cdata)
        return found is not None and not found.expired()  # its place may be another's by now

    def put(self, tensor: Tensor, there: bool) -> Tensor:
        memory = tensor.untyped_storage()
        if not there:
            self._memory.pop(memory._cdata, None)
        elif tensor not in self:
            self._memory[memory._cdata] = StorageWeakRef(memory)
        return tensor

    def device(self, tensor: Tensor) -> torch.device:
        return THERE if tensor in self else tensor.device


def _is_tensor(value) -> bool:
    """Whether a value is a tensor, not what stands for one while a network is read off, and says that it is."""
    return issubclass(type(value), Tensor)


def _tensors(values) -> list[Tensor]:
    return [each for each in tree_leaves(values) if _is_tensor(each)]


class _Functions(TorchFunctionMode):
    def __init__(self, moved: Moved):
        super().__init__()
        self.moved, self.within = moved, False  # within: whether a function works on what is there

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, first = kwargs or {}, args[0] if args else None
        if first in self.moved:
            if function == Tensor.device.__get__:
                return THERE
            if function == Tensor.is_cuda.__get__:
                return True
            if function in (Tensor.numpy, Tensor.__array__):
                raise TypeError("can't convert cuda:0 device type tensor to numpy.")
            if function is Tensor.__deepcopy__:  # copies memory without an operation
                return self.moved.put(function(*args, **kwargs), True)
        if _is_tensor(first) and function in (Tensor.cpu, Tensor.cuda):
            return self._to(first, HERE if function is Tensor.cpu else THERE)
        if _is_tensor(first) and function is Tensor.to:
            return self._to(*args, **kwargs)
        if kwargs.get("device") is not None:
            return self._made(function, args, kwargs)
        before, self.within = self.within, self.within or any(each in self.moved for each in _tensors((args, kwargs)))
        try:
            return function(*args, **kwargs)
        finally:
            self.within = before

    def _made(self, function, args, kwargs):
        """What a function makes where it is told to."""
        there = torch.device(kwargs["device"]).type == "cuda"
        if there and kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        found = function(*args, **(kwargs | {"device": HERE} if there else kwargs))
        for each in _tensors(found):
            self.moved.put(each, there)
        return found

    def _to(self, tensor: Tensor, *args, **kwargs) -> Tensor:
        """Tensor.to, whose arguments are a device, a type or both, or a tensor that has them."""
        where = kwargs.pop("device", None)
        for each in (*args, kwargs.pop("other", None)):
            if isinstance(each, torch.device | str):
                where = each
            elif isinstance(each, torch.dtype):
                kwargs["dtype"] = each
            elif _is_tensor(each):
                where, kwargs["dtype"] = self.moved.device(each), each.dtype
        if where is None or torch.device(where).type == "meta" or tensor.device.type == "meta":
            return tensor.to(**({} if where is None else {"device": where}), **kwargs)
        there = torch.device(where).type == "cuda"
        kwargs["copy"] = kwargs.get("copy", False) or there != (tensor in self.moved)
        return self.moved.put(tensor.to(HERE, **kwargs), there)


class _Operations(TorchDispatchMode):
    def __init__(self, moved: Moved, functions: _Functions):
        super().__init__()
        self.moved, self.functions = moved, functions

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunction():
            kwargs, operation, given = kwargs or {}, function.overloadpacket, _tensors((args, kwargs))
            there = any(each in self.moved for each in given) or (not given and self.functions.within)
            if there and operation not in _COPIES:
                self._check(operation, args, kwargs)
            found = function(*args, **kwargs)
            if operation is not _OPS.copy_:
                for each in _tensors(found):
                    if not any(each is one for one in given):
                        self.moved.put(each, there)
            return found

    def _check(self, operation, args, kwargs) -> None:
        """Raise RuntimeError as a GPU does."""
        if kwargs.get("generator") is not None:
            raise RuntimeError(f"{operation}: Expected a 'cuda' device type for generator but found 'cpu'")
        if operation in _INDEXED:
            if args[0] not in self.moved and any(each in self.moved for each in _tensors(args[1])):
                raise RuntimeError(f"{operation}: indices should be either on cpu or on the same device (cpu)")
            args = (args[0], *args[2:])
        given = _tensors((args, kwargs))
        here = [each for each in given if each not in self.moved and each.device.type == "cpu"]
        if any(each.dim() or operation in _NO_NUMBERS for each in here) and len(here) < len(given):
            raise RuntimeError(f"{operation}: Expected all tensors to be on the same device, but found cuda:0 and cpu")


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within the block there is a GPU."""
    moved, to = Moved(), nn.Module.to
    functions = _Functions(moved)

    def module_to(module, *args, **kwargs):
        """torch reads the device of a tensor that is given here without asking."""
        if args and _is_tensor(args[0]):
            args = (moved.device(args[0]), args[0].dtype, *args[1:])
        return to(module, *args, **kwargs)

    waits, autocast = patch.object(torch.cuda, "synchronize", lambda *_: None), torch.autocast
    rounds = patch.object(torch, "autocast", lambda kind, *args, **kwargs: autocast("cpu", *args, **kwargs))
    with waits, rounds, patch.object(nn.Module, "to", module_to), functions, _Operations(moved, functions):
        yield
