"""Networks as graphs: `torch.fx` with what it does not follow by itself, decisions by sizes and parametrized weights."""

import copy
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrize

from mmer_core.incremental.sizes import BATCHES, Recorder

_WRITING = (
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod),
    *(operator.ipow, operator.iand, operator.ior, operator.ixor),
)


def traced(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """A copy of a module as a graph, in evaluation mode and without gradients.

    Args:
        example: An input ``(1, C, H, W)``; decisions by sizes are made as for it, whatever the size of the batch.
    """
    module = copy.deepcopy(module).eval().requires_grad_(False)
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            _keep_weights(part)
    graph = _Tracer(example).trace(module)
    for node in graph.nodes:
        written = node.args[0] if writes(node, module) else None
        if isinstance(written, fx.Node):  # what is read of it from here on is what was written
            written.replace_all_uses_with(node, partial(operator.lt, node))
    return fx.GraphModule(module, graph)


def writes(node: fx.Node, root: nn.Module) -> bool:
    """Whether a node writes into its first input, which then is its output."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    if not node.op.startswith("call"):
        return False
    if node.op == "call_function" and getattr(node.target, "__module__", "") == operator.add.__module__:
        return node.target in _WRITING  # and_ does not write
    name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))
    named_so = name.endswith("_") and not name.endswith("__")
    return named_so or bool(node.kwargs.get("inplace", False))


def remove_unused(graph: fx.GraphModule) -> None:
    """Remove nodes that nothing reads, but for those that write into what others read."""
    graph.graph.eliminate_dead_code(lambda node: node.is_impure() or writes(node, graph))
    graph.recompile()


def _keep_weights(module: nn.Module) -> None:
    """Replace parametrized weights, weight norm's say, by what they are now.

    `torch.nn.utils.parametrize.remove_parametrizations` would change the class that the module shares with what it was copied from.
    """
    weights = {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr]
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, weight in weights.items():
        module.register_parameter(name, nn.Parameter(weight.detach().clone(), requires_grad=False))


class _Proxy(fx.Proxy):
    """A number where Python insists on one."""

    tracer: "_Tracer"

    def __int__(self) -> int:
        return int(self.tracer.settled(self))

    def __index__(self) -> int:
        return operator.index(self.tracer.settled(self))

    def __float__(self) -> float:
        return float(self.tracer.settled(self))


class _Tracer(fx.Tracer):
    """Settles what is made of sizes where that decides how a network goes on, as in ``assert x.shape[1] == 3``."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self._example, self._computing = example, False

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
        graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.graph_copy(self.graph, copies)
        wanted = copies[obj.node]
        graph.output(wanted)
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        self._computing = True
        try:
            run = fx.GraphModule(self.root, graph)
            with FakeTensorMode(allow_non_fake_inputs=True):  # of which only sizes are computed
                one, other = (
                    Recorder(run).record(self._example.repeat(batch, 1, 1, 1)).values[wanted]
                    for batch in BATCHES
                )
            if isinstance(one, bool | int | float) and one == other:
                return one
        finally:
            self._computing = False
        raise fx.proxy.TraceError(
            f"{obj.node.name} decides how the network goes on, and depends on the images or on the size of the batch"
        )

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As `torch.fx.Tracer.call_module`; computes while something is settled."""
        return forward(*args, **kwargs) if self._computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """As `torch.fx.Tracer.getattr`; the value itself while something is settled."""
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)
