"""Networks as graphs: `torch.fx` with what it does not follow by itself, decisions by sizes and parametrized weights."""

import builtins
import inspect
import operator
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from mmer_core.incremental.copying import plain_copy
from mmer_core.incremental.exported import as_written, writes_by_schema

_CONDITIONS = (1, 2, 5)
"""Sizes of a batch for which a condition must come out the same."""
_MAKING = ("zeros", "ones", "full", "empty", "eye", "arange", "linspace")
_WRITING = (
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod),
    *(operator.ipow, operator.iand, operator.ior, operator.ixor),
)


def traced(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """A copy of a module as a graph, in evaluation mode and without gradients.

    Args:
        example: An input ``(1, C, H, W)``; decisions by sizes are made as for it, whatever the size of the batch.
    """
    module = plain_copy(module)
    if [each.kind.name for each in inspect.signature(module.forward).parameters.values()] != [
        "POSITIONAL_OR_KEYWORD"
    ]:
        module = _OfImages(module)
    with _following_numbers():
        graph = _Tracer(example).trace(module)
    as_written(graph)
    for node in graph.nodes:
        written = node.args[0] if writes(node, module) else None
        if isinstance(written, fx.Node):  # what is read of it from here on is what was written
            written.replace_all_uses_with(node, partial(operator.lt, node))
    return fx.GraphModule(module, graph)


def set_item_(written: Tensor, index: Any, value: Any) -> Tensor:
    """``written[index] = value``, as a function."""
    written[index] = value
    return written


def with_item(of: Tensor, index: Any, value: Any) -> Tensor:
    """A copy with an item written into it."""
    return set_item_(of.clone(), index, value)


def called(node: fx.Node) -> Any:
    """The function that a node calls, or the name of the method; None for a layer, which may have a name like ``squeeze``."""
    return node.target if node.op in ("call_function", "call_method") else None


def writes(node: fx.Node, root: nn.Module) -> bool:
    """Whether a node writes into its first input, which then is its output."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    if not node.op.startswith("call"):
        return False
    if node.op == "call_function" and getattr(node.target, "__module__", "") == operator.add.__module__:
        return node.target in _WRITING  # and_ does not write
    if writes_by_schema(node.target):
        return True
    name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))
    named_so = name.endswith("_") and not name.endswith("__")
    return named_so or bool(node.kwargs.get("inplace", False))


@contextmanager
def _following_numbers() -> Iterator[None]:
    """Let functions be traced that take nothing but numbers: ``len`` of a batch, as in ``x.view(len(x), -1)``, and those that make
    tensors, as in ``torch.zeros(len(x), 1, height, width)``."""
    originals: dict[tuple[Any, str], Any] = {(builtins, "len"): builtins.len}
    originals |= {(torch, name): getattr(torch, name) for name in _MAKING}

    @wraps(len)  # others may pickle it meanwhile
    def length(of: Any, /) -> Any:
        return of.tracer.length(of) if isinstance(of, _Proxy) else originals[builtins, "len"](of)

    def making(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def make(*args: Any, **named: Any) -> Any:
            try:
                return original(*args, **named)
            except (TypeError, fx.proxy.TraceError):
                traced = [each for each in tree_leaves((args, named)) if isinstance(each, _Proxy)]
                if not traced:
                    raise
                return traced[0].tracer.create_proxy("call_function", original, args, named)

        return make

    try:
        for (where, name), original in originals.items():
            setattr(where, name, length if where is builtins else making(original))
        yield
    finally:
        for (where, name), original in originals.items():
            setattr(where, name, original)


class _OfImages(nn.Module):
    """A network that takes more than images, which has a default."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """What the network says of ``(B, C, H, W)`` images alone."""
        return self.network(images)


class _Proxy(fx.Proxy):
    """A traced value that Python may use as a number, where it follows from sizes."""

    tracer: "_Tracer"

    def __int__(self) -> int:
        return int(self.tracer.settled(self))

    def __index__(self) -> int:
        return operator.index(self.tracer.settled(self))

    def __float__(self) -> float:
        return float(self.tracer.settled(self))

    def __len__(self) -> int:
        return operator.index(self.tracer.length(self))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", set_item_, (self, index, value), {})

    def __getattr__(self, name: str) -> fx.proxy.Attribute:
        return _Attribute(self, name)


class _Attribute(fx.proxy.Attribute, _Proxy):
    """The same of what is read of one, such as its shape."""


def _number(value: Any) -> Any:
    """The number in a tensor of one, but for those of which only sizes are known."""
    known = isinstance(value, Tensor) and not isinstance(value, FakeTensor) and value.numel() == 1
    return value.item() if known else value


class _Tracer(fx.Tracer):
    """Settles what is made of sizes where that decides how a network goes on, as in ``assert x.shape[1] == 3``."""

    # Buffers as parameters, so that ``self.positions.expand(len(x), -1, -1, -1)`` is traced.
    proxy_buffer_attributes = True

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self._example, self._computing = example, False
        self._sizes = FakeTensorMode(allow_non_fake_inputs=True)  # of which only sizes are computed
        self._known: tuple[dict[fx.Node, Any], ...] = tuple({} for _ in _CONDITIONS)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """As `torch.fx.Tracer.proxy`."""
        return _Proxy(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """As `torch.fx.Tracer.to_bool`, of conditions on sizes."""
        return bool(self.settled(obj))

    def settled(self, obj: fx.Proxy) -> Any:
        """The value for images of this size, if it is a number or a truth and the same for batches of any size.

        Raises:
            TraceError: It is not.
        """
        found = [_number(each) for each in self._values(obj)]
        if isinstance(found[0], bool | int | float) and all(each == found[0] for each in found):
            return found[0]
        raise fx.proxy.TraceError(
            f"{obj.node.name} decides how the network goes on, and depends on the images or on the size of the batch"
        )

    def length(self, obj: fx.Proxy) -> Any:
        """How many values there are in what is traced, likewise; the traced size if it is that of a batch. Raises as `settled`."""
        values = self._values(obj)
        found = [len(each) if isinstance(each, Sized) else None for each in values]
        if found[0] is not None and all(each == found[0] for each in found):
            return found[0]
        if isinstance(values[0], Tensor):
            return obj.size(0)
        raise fx.proxy.TraceError(
            f"how many values {obj.node.name} has depends on the images or on the size of the batch"
        )

    def iter(self, obj: Any) -> Iterator[fx.Proxy]:
        """As `torch.fx.Tracer.iter`, of what has a length, as in ``for part in x.chunk(4, 1)``."""
        return iter([obj[number] for number in range(operator.index(self.length(obj)))])

    def _values(self, obj: fx.Proxy) -> list[Any]:
        """What it is for batches of the sizes in `_CONDITIONS`."""
        self._computing = True
        try:
            return [self._value(obj.node, *which) for which in zip(_CONDITIONS, self._known, strict=True)]
        finally:
            self._computing = False

    def _value(self, wanted: fx.Node, batch: int, known: dict[fx.Node, Any]) -> Any:
        """Of a node, for a batch; None where sizes do not say."""
        for node in self.graph.nodes:
            if node not in known:
                known[node] = self._run(node, batch, known)
            if node is wanted:
                break
        return known[wanted]

    def _run(self, node: fx.Node, batch: int, known: dict[fx.Node, Any]) -> Any:
        args: Any = fx.map_arg(node.args, known.__getitem__)
        named: Any = fx.map_arg(node.kwargs, known.__getitem__)
        try:
            # What no image has a part in is computed: a network may decide by a buffer.
            of_images = node.op == "placeholder" or any(
                isinstance(each, FakeTensor) for each in tree_leaves((args, named))
            )
            with torch.no_grad(), self._sizes if of_images else nullcontext():
                if node.op == "placeholder":
                    return self._example.repeat(batch, 1, 1, 1)
                if node.op == "call_method":
                    return getattr(args[0], str(node.target))(*args[1:], **named)
                if node.op == "call_function":
                    return node.target(*args, **named)  # type: ignore[operator]
                found: Any = operator.attrgetter(str(node.target))(self.root)
                return found(*args, **named) if node.op == "call_module" else found
        except Exception:  # what depends on numbers
            return None

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As `torch.fx.Tracer.call_module`; computes while something is settled."""
        return forward(*args, **kwargs) if self._computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """As `torch.fx.Tracer.getattr`; the value itself while something is settled."""
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)
