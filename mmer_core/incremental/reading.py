"""The nodes of a traced network as local steps, one after another, until one is not local."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mmer_core.incremental.arrangements import Arrangement, arrangements, first, inside
from mmer_core.incremental.constants import Constants
from mmer_core.incremental.enlarging import read_enlarging
from mmer_core.incremental.layers import METHODS, POINTWISE, IsNotLocal, Layer, Window, read_window
from mmer_core.incremental.moves import Moved, counted, moved, regrouped
from mmer_core.incremental.positions import at_positions, by_position
from mmer_core.incremental.shrinking import read_shrinking
from mmer_core.incremental.sizes import BATCHES
from mmer_core.incremental.spans import CONSTANT, Reach
from mmer_core.incremental.tracer import called, set_item_, with_item, writes

_MERGES: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add,
    operator.iadd: torch.add,
    operator.sub: torch.sub,
    operator.mul: torch.mul,
    operator.imul: torch.mul,
    torch.add: torch.add,
    torch.sub: torch.sub,
    torch.mul: torch.mul,
    torch.cat: lambda *maps: torch.cat(maps, dim=1),
}
_VIEWING = ("reshape", "view", "flatten", "squeeze", torch.reshape, torch.flatten, torch.squeeze)
_PADS: dict[type[nn.Module], str] = {
    nn.ZeroPad2d: CONSTANT,
    nn.ConstantPad2d: CONSTANT,
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
}


@dataclass(frozen=True, eq=False)
class Step:
    """One local operation.

    Attributes:
        name: Name of its output, that of the traced node.
        inputs: Names of the maps that it reads; several for sums and the like.
        window: The window that it reads along both axes; None if an output depends only on its own position.
        apply: The operation on ``(B, C, h, w)`` maps, which already include the padding of ``window``.
        multiply_adds: Per number of the output.
        enlarges: Rows and columns that it makes of each one.
    """

    name: str
    inputs: tuple[str, ...]
    window: Window | None
    apply: Callable[..., Tensor]
    multiply_adds: int = 1
    enlarges: tuple[int, int] = (1, 1)


class _Parts(NamedTuple):
    """What a node makes several maps of one by.

    Attributes:
        origin: The name of that map.
        cut: Gives them, of the map as it is arranged ``before``.
        after: How each of them is arranged.
        example: What ``cut`` gives.
    """

    origin: str
    cut: Callable[[Tensor], Any]
    before: Arrangement
    after: Arrangement
    example: Any


class Reader:
    """Reads nodes in order.

    Attributes:
        steps: Those of the nodes read so far, by name.
        fixed: Maps ``(1, C, h, w)`` that they read and that are the same for all images, by name.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        source: str,
        shapes: Mapping[str, torch.Size],
        example: Tensor,
        constants: Constants,
    ) -> None:
        self._constants = constants
        self.fixed: dict[str, Tensor] = {}
        self._shapes, self._example = shapes, example
        self._dtypes: dict[str, torch.dtype] = {}  # of maps that may have another one than the example
        # Of nodes whose maps are otherwise than (B, C, h, w) in the network; windows never are.
        self._arranged: dict[str, Arrangement] = {}
        self._moved: dict[str, Moved] = {}  # what is no map, of the numbers of one
        self._parts: dict[str, _Parts] = {}
        self._views: set[str] = set()
        self.steps: dict[str, Step] = {}
        self._modules = dict(graph.named_modules())
        self._graph = graph
        self._same = {source: source}  # every local map to the name of an equal map
        self._pads: dict[str, tuple[str, Window]] = {}  # the padded map, and by how much

    def read(self, node: fx.Node) -> None:
        """Append the step of this node."""
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        self._refuse_altered(node, module)
        self._refuse_shared_in_place(node, module)
        try:
            self._read(node, module)
        except Exception:  # `IsNotLocal`, or arguments that are given in an unusual way
            if not self._read_by_position(node, module):
                raise

    def _read(self, node: fx.Node, module: nn.Module | None) -> None:
        if self._changes_nothing(node, module):
            self._same[node.name] = source = self._map(node.args[0], node)
            self._dtypes[node.name] = self._dtype(source)
            self._like(node)
        elif self._moves(node) or self._cuts_channels(node):
            return
        elif self._arranged.keys() & {each.name for each in node.all_input_nodes}:
            self._read_arranged(node, module)
        elif type(module) in _PADS or node.target is F.pad:
            self._pad(node, module)
        elif node.target in _MERGES and self._merge(node):
            return
        elif (layer := read_window(node, module, self._constant, self._shapes)) is not None:
            self._window(node, layer)
        elif (larger := read_enlarging(node, module, self._constant, self._shapes)) is not None:
            source = self._map(node.args[0], node)
            self._add(
                node, Step(node.name, (source,), None, larger.apply, larger.multiply_adds, larger.times)
            )
        elif (layer := read_shrinking(node, module, self._shapes)) is not None:
            self._window(node, layer)
        elif (apply := self._pointwise(node, module)) is not None:
            self._add(node, Step(node.name, (self._map(node.args[0], node),), None, apply))
        else:
            raise IsNotLocal(describe(node, module))

    def _read_by_position(self, node: fx.Node, module: nn.Module | None) -> bool:
        """Whatever computes each position of its output of that position of its inputs."""
        maps = [each for each in node.all_input_nodes if each.name in self._same]
        arranged = [self._arrangement(each.name) for each in maps]
        fits = bool(arranged) and all(map(arranged[0].fits, arranged))
        if not fits or node.op not in ("call_module", "call_function", "call_method"):
            return False
        try:
            constants = {
                each: self._constants.value(each) for each in node.all_input_nodes if each not in maps
            }
        except IsNotLocal:  # what the node itself is says more
            return False
        examples = [
            torch.zeros(self._shapes[each.name], dtype=self._dtype(each.name), device=self._example.device)
            for each in maps
        ]

        def calling(varying: Sequence[fx.Node]) -> Callable[..., Any]:
            """The node as a function of its maps and of these constants."""

            def call(*given: Tensor) -> Any:
                values = constants | dict(zip((*maps, *varying), given, strict=True))
                args: Any = fx.map_arg(node.args, values.__getitem__)
                named: Any = fx.map_arg(node.kwargs, values.__getitem__)
                if module is not None:
                    return module(*args, **named)
                if node.op == "call_method":
                    return getattr(args[0], str(node.target))(*args[1:], **named)
                function = with_item if node.target is set_item_ else cast(Callable[..., Any], node.target)
                return function(*args, **named)

            return call

        varying: dict[fx.Node, Tensor] = {}
        found = by_position(calling(()), examples, arranged)
        if found is None:  # perhaps because a constant is another at every position
            varying = {
                each: spread
                for each, value in constants.items()
                if (spread := at_positions(value, arranged[0])) is not None
            }
            arranged += [arranged[0].of_shape(each.shape) for each in varying.values()]
            batch = [each.repeat_interleave(BATCHES[0], arranged[0].kept[0]) for each in varying.values()]
            found = by_position(calling([*varying]), [*examples, *batch], arranged) if varying else None
        if found is None:
            return False
        call = calling([*varying])
        sources = [self._same[each.name] for each in maps]
        if not isinstance(found.value, Tensor):
            if len(sources) > 1 or varying or not all(map(found.arranged[0].fits, found.arranged)):
                return False
            self._parts[node.name] = _Parts(sources[0], call, arranged[0], found.arranged[0], found.value)
            return True
        for each, value in varying.items():
            name = f"{each.name} in {node.name}"
            self.fixed[name] = arranged[0].of_shape(value.shape).back(value)
            sources.append(name)
        apply = inside(call, arranged, found.arranged[0])
        self._add(node, Step(node.name, tuple(sources), None, apply, found.multiply_adds))
        self._arrange(node, found.arranged[0])
        self._dtypes[node.name] = found.value.dtype
        if not writes(node, self._graph) and any(_share(found.value, each) for each in examples):
            self._views.add(node.name)
        return True

    def _changes_nothing(self, node: fx.Node, module: nn.Module | None) -> bool:
        if module is not None:
            return isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d)
        given = dict(zip(("p", "training"), node.args[1:], strict=False)) | node.kwargs
        if node.target in (F.dropout, F.dropout2d):
            return given.get("training", True) is False
        if getattr(node.target, "__name__", "") == "stochastic_depth":
            return (*node.args, *node.kwargs.values())[3:4] == (False,)
        source = getattr(node.args[0], "name", "") if node.args else ""
        if source not in self._same:
            return False
        return node.target == "contiguous" or (
            node.target in _VIEWING and self._shapes.get(source) == self._shapes.get(node.name)
        )

    def ends_well(self, name: str) -> bool:
        """Whether the rest of the network can be computed of the map of a step: its channels are where the network has them, and its
        numbers are of the network's kind."""
        return name not in self._arranged and self._dtype(name) == self._example.dtype

    def _dtype(self, name: str) -> torch.dtype:
        """Of the numbers of a map."""
        return self._dtypes.get(name, self._example.dtype)

    def _like(self, node: fx.Node) -> None:
        """The node's map is arranged as that which it is made of."""
        for each in node.all_input_nodes:
            if each.name in self._arranged:
                self._arrange(node, self._arranged[each.name].of_shape(self._shapes[node.name]))

    def _arrange(self, node: fx.Node, arranged: Arrangement) -> None:
        if not arranged.is_first:
            self._arranged[node.name] = arranged

    def _moves(self, node: fx.Node) -> bool:
        """What only moves numbers: from one arrangement of a map to another, where windows stay as they are, or channels in groups
        and positions in blocks. What is no map in between is followed until it is one."""
        source = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(source, fx.Node):
            return False
        before = self._moved.get(source.name) or self._unmoved(node, source.name)
        after = None if before is None else moved(node, before.numbers, self._shapes)
        if before is None or after is None:
            return False
        found = None
        for arranged in arrangements(after.shape, before.own.shape):
            found = regrouped(arranged.back(after), before.own, self._example.device)
            if found is not None:
                self._arrange(node, arranged)
                break
        self._dtypes[node.name] = self._dtype(before.origin)
        if found is None:
            self._moved[node.name] = replace(before, numbers=after)
        elif found.changes_nothing:
            self._same[node.name] = before.origin
        else:
            side = found.shrinks
            window = Window(Reach(side, side, 1, 0, 0), Reach(side, side, 1, 0, 0)) if side > 1 else None
            enlarges = (found.enlarges, found.enlarges)
            self._add(node, Step(node.name, (before.origin,), window, found, enlarges=enlarges))
            self._views.add(node.name)
        return True

    def _unmoved(self, node: fx.Node, name: str) -> Moved | None:
        """The numbers of a map where they are; None for what is no map, or where the node is better read otherwise."""
        # Into a copy may be written. Parts of a map are read by `_cuts_channels` and `read_window`, which copy nothing.
        copies, cuts = called(node) in ("clone", torch.clone), node.target is operator.getitem
        if name not in self._same or copies or (cuts and name not in self._arranged):
            return None
        own = counted(self._map_shape(self._same[name]))
        return Moved(self._same[name], own, self._arrangement(name).of(own))

    def _arrangement(self, name: str) -> Arrangement:
        return self._arranged.get(name) or first(self._shapes[name])

    def _map_shape(self, name: str) -> torch.Size:
        """``(B, C, H, W)`` of a map, however the network holds it."""
        arranged = self._arrangement(name)
        return torch.Size([BATCHES[0], prod(arranged.channels), *arranged.size])

    def _read_arranged(self, node: fx.Node, module: nn.Module | None) -> None:
        """Layers that read the channels of one position, of a map that is not ``(B, C, H, W)`` in the network."""
        source = self._map(node.args[0], node)
        arranged = self._arrangement(cast(fx.Node, node.args[0]).name)
        apply: Callable[[Tensor], Tensor] | None = None
        adds = 1
        if isinstance(module, nn.LayerNorm | nn.Linear) or node.target in (F.layer_norm, F.linear):
            if not arranged.is_last:
                raise IsNotLocal(describe(node, module))
            if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
                apply = module
            elif isinstance(module, nn.Linear):
                apply, adds = module, module.in_features
            elif node.target is F.linear or (node.target is F.layer_norm and len(node.args[1]) == 1):  # type: ignore[arg-type]
                function = cast(Callable[..., Tensor], node.target)
                weights = [self._constant(each) for each in node.args[1:]]
                named = {name: self._constant(each) for name, each in node.kwargs.items()}
                apply = lambda maps: function(maps, *weights, **named)  # noqa: E731
                adds = weights[0].shape[1] if node.target is F.linear else 1
            if apply is not None:
                apply = inside(apply, [arranged], arranged)
        elif len(node.all_input_nodes) == 1 and not isinstance(module, nn.BatchNorm2d):
            apply = self._pointwise(node, module)
        if apply is None:
            raise IsNotLocal(describe(node, module))
        self._add(node, Step(node.name, (source,), None, apply, adds))
        self._like(node)

    def _cuts_channels(self, node: fx.Node) -> bool:
        """Slices of channels by constants: ``x[:, :8]``, ``chunk`` and ``split``."""
        if called(node) in ("chunk", torch.chunk, "split", torch.split):
            given: dict[str, Any] = dict(zip(("size", "dim"), node.args[1:], strict=False)) | node.kwargs
            source = node.args[0]
            if given.get("dim", 0) == 1 and isinstance(source, fx.Node) and source.name not in self._arranged:
                function: Callable[..., Any] = torch.chunk if "chunk" in str(node.target) else torch.split
                size = given.get("size", given.get("chunks", given.get("split_size_or_sections")))
                cut: Callable[[Tensor], Any] = lambda maps: function(maps, size, 1)  # noqa: E731
                arranged, origin = self._arrangement(source.name), self._map(source, node)
                example = cut(torch.zeros(self._shapes[source.name], dtype=self._dtype(source.name)))
                self._parts[node.name] = _Parts(origin, cut, arranged, arranged, example)
                return True
            return False
        if node.target not in (operator.getitem, getattr) or not isinstance(node.args[0], fx.Node):
            return False
        index: Any
        source, index = node.args[0], node.args[1]
        take = cast(Callable[[Any, Any], Tensor], node.target)
        if source.name in self._parts:
            parts = self._parts[source.name]
            taken = inside(lambda maps: take(parts.cut(maps), index), [parts.before], parts.after)
            self._view(node, parts.origin, taken)
            self._arrange(node, parts.after.of_shape(self._shapes[node.name]))
            self._dtypes[node.name] = take(parts.example, index).dtype
            return True
        if (
            source.name not in self._same
            or source.name in self._arranged
            or not isinstance(index, tuple)
            or len(index) < 2
        ):
            return False
        channels = index[1]
        if not isinstance(channels, slice) or any(
            one != slice(None, None, None) for one in (index[0], *index[2:])
        ):
            return False
        if any(isinstance(end, fx.Node) for end in (channels.start, channels.stop, channels.step)):
            return False
        self._view(node, self._same[source.name], lambda maps: maps[:, channels])
        return True

    def _view(self, node: fx.Node, origin: str, apply: Callable[[Tensor], Tensor]) -> None:
        """A map whose numbers may lie where those of ``origin`` do."""
        self._add(node, Step(node.name, (origin,), None, apply))
        self._views.add(node.name)

    def _add(self, node: fx.Node, step: Step) -> None:
        self.steps[node.name] = step
        self._same[node.name] = node.name

    def _map(self, argument: Any, node: fx.Node) -> str:
        if not isinstance(argument, fx.Node) or argument.name not in self._same:
            raise IsNotLocal(describe(node, self._modules.get(str(node.target))))
        return self._same[argument.name]

    def _constant(self, argument: Any) -> Any:
        """A tensor that is the same for all images, or a plain value. Raises IsNotLocal if it is neither."""
        return self._constants.value(argument) if isinstance(argument, fx.Node) else argument

    def _pad(self, node: fx.Node, module: nn.Module | None) -> None:
        padding: Any
        value: Any
        mode: Any
        if module is not None:
            padding, value, mode = module.padding, getattr(module, "value", 0.0), _PADS[type(module)]
        else:
            padding = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
            mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
            value = node.args[3] if len(node.args) > 3 else node.kwargs.get("value") or 0.0
        if len(padding) != 4 or mode not in _PADS.values() or (mode != CONSTANT and min(padding) < 0):
            raise IsNotLocal(describe(node, module))
        left, right, top, bottom = padding
        source = self._map(node.args[0], node)
        window = Window.square(1).padded(top, bottom, left, right, value, mode)
        self._add(node, Step(node.name, (source,), window, lambda maps: maps))
        if min(padding) >= 0:  # what is cut off is gone, so other padding cannot make up for it
            self._pads[node.name] = source, window

    def _window(self, node: fx.Node, layer: Layer) -> None:
        window = layer.window
        source = self._map(node.args[0], node)
        if source in self._pads and len(self._readers(source)) == 1:
            behind, pad = self._pads[source]
            if window.unpadded or (pad.fill, pad.mode, window.mode) == (window.fill, CONSTANT, CONSTANT):
                del self.steps[source]
                source, window = behind, window.padded(*pad.padding, pad.fill, pad.mode)
        step = Step(node.name, (source,), window, layer.apply, layer.multiply_adds)
        self._add(node, step if not window.pointwise else replace(step, window=None))
        if node.target is operator.getitem:  # which copies nothing in the network itself
            self._views.add(node.name)

    def _merge(self, node: fx.Node) -> bool:
        arguments = node.args
        if node.target is torch.cat:
            arguments, dim = tuple(node.args[0]), (*node.args[1:], *node.kwargs.values())  # type: ignore[arg-type]
            if dim not in ((1,), (-3,)):
                raise IsNotLocal(describe(node, None))
        elif node.kwargs or len(arguments) != 2:
            raise IsNotLocal(describe(node, None))
        constants = [each for each in arguments if isinstance(each, fx.Node) and each.op == "get_attr"]
        if constants and len(arguments) == 2:
            return self._scale(node, constants[0])
        if not all(isinstance(argument, fx.Node) for argument in arguments):
            return False
        inputs = tuple(self._map(argument, node) for argument in arguments)
        if len({self._shapes[each.name][2:] for each in arguments if isinstance(each, fx.Node)}) > 1:
            raise IsNotLocal(describe(node, None))  # one number for many positions
        self._add(node, Step(node.name, inputs, None, _MERGES[node.target]))
        return True

    def _scale(self, node: fx.Node, parameter: fx.Node) -> bool:
        """A map and a parameter that has one number, or one for each channel."""
        value = self._constant(parameter)
        shape = tuple(value.shape)[-3:]
        if value.numel() != 1 and (
            value.ndim > 4 or len(shape) < 3 or shape[1:] != (1, 1) or value.numel() != shape[0]
        ):
            raise IsNotLocal(describe(node, None))
        (source,) = (each for each in node.args if each is not parameter)
        merge = _MERGES[node.target]
        first = node.args[0] is parameter
        apply = (lambda maps: merge(value, maps)) if first else (lambda maps: merge(maps, value))
        self._add(node, Step(node.name, (self._map(source, node),), None, apply))
        return True

    def _pointwise(self, node: fx.Node, module: nn.Module | None) -> Callable[[Tensor], Tensor] | None:
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            return module
        if type(module) in POINTWISE:
            return module
        if node.target is F.batch_norm:
            given = (
                dict(zip(("mean", "var", "weight", "bias", "training"), node.args[1:], strict=False))
                | node.kwargs
            )
            if given.get("training", False) is False:
                weights = [self._constant(each) for each in node.args[1:]]
                others = {name: self._constant(each) for name, each in node.kwargs.items()}
                return lambda maps: F.batch_norm(maps, *weights, **others)
        rest = (*node.args[1:], *node.kwargs.values())
        known = node.op == "call_function" and (node.target in POINTWISE or node.target in _MERGES)
        if (
            node.op == "call_method"
            and node.target in METHODS
            and not any(isinstance(a, fx.Node) for a in rest)
        ):
            name, constants, named = str(node.target), node.args[1:], node.kwargs
            return lambda maps: getattr(maps, name)(*constants, **named)
        if known and isinstance(node.args[0], fx.Node) and not any(isinstance(a, fx.Node) for a in rest):
            function, constants, named = cast(Callable[..., Tensor], node.target), node.args[1:], node.kwargs
            return lambda maps: function(maps, *constants, **named)
        return None

    def _refuse_altered(self, node: fx.Node, module: nn.Module | None) -> None:
        if module is not None and is_altered(module):
            raise IsNotLocal(f"{describe(node, module)}, which has hooks or a forward of its own")

    def _refuse_shared_in_place(self, node: fx.Node, module: nn.Module | None) -> None:
        """In-place layers change their input for all its readers, so they are safe only as its sole reader."""
        if not writes(node, self._graph):
            return
        source = self._same.get(getattr(node.args[0], "name", ""), None)
        if source in self._views:
            raise IsNotLocal(f"{describe(node, module)} that works in place on a part of another map")
        if source is None:
            raise IsNotLocal(f"{describe(node, module)} that writes into what is no map")
        others = [each for each in self._readers(source) if each is not node]
        # An item is written into a copy in windows, so who has read the map by then does not see it.
        if others and not (node.target is set_item_ and all(self._is_done(each, node) for each in others)):
            raise IsNotLocal(f"{describe(node, module)} that works in place on a map with other readers")

    def _is_done(self, reader: fx.Node, before: fx.Node) -> bool:
        """Whether neither a reader of a map nor what it may only look at the map by is read from some node on."""
        if before < reader:
            return False
        looks = reader.name in self._views or reader.name not in self.steps
        return not looks or all(self._is_done(each, before) for each in reader.users)

    def _readers(self, source: str) -> list[fx.Node]:
        """What reads a map, by whatever name."""
        return [
            user
            for other in self._graph.graph.nodes
            if self._same.get(other.name) == source
            for user in other.users
            if self._same.get(user.name) != source
        ]


def is_altered(module: nn.Module) -> bool:
    """Whether a layer does something else than its class."""
    own = {"forward", "_conv_forward"} & vars(module).keys() and not isinstance(module, fx.GraphModule)
    return bool(module._forward_hooks or module._forward_pre_hooks or own)


def _share(one: Tensor, other: Tensor) -> bool:
    """Whether their numbers lie in the same memory."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def describe(node: fx.Node, module: nn.Module | None) -> str:
    kind = type(module).__name__ if module is not None else getattr(node.target, "__name__", node.target)
    return f"{node.name} ({kind})"
