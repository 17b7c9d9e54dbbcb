"""Copies of networks without what wraps their layers: copies for several GPUs, compiled code, weights made anew for each pass."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mmer_core.evaluation_mode import evaluating


def plain_copy(module: nn.Module) -> nn.Module:
    """A copy that computes the same, in evaluation mode and without gradients; its weights are plain ones.

    Weights that are made of others for each pass, by a parametrization, weight or spectral norm, or pruning, are what they are now.
    """
    module = evaluating(copy.deepcopy(_unwrapped(module))).requires_grad_(False)
    graphs = [part for part in module.modules() if isinstance(part, fx.GraphModule)]
    placed = {part for graph in graphs for part in graph.modules()}  # which a graph finds by their places
    for part in [each for each in module.modules() if each not in placed]:
        for name, child in list(part.named_children()):
            if (inner := _unwrapped(child)) is not child:
                setattr(part, name, inner)
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            _keep_parametrized(part)
        _keep_hooked(part)
    return module


def _unwrapped(module: nn.Module) -> nn.Module:
    while True:
        if isinstance(module, nn.DataParallel | DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):  # of torch.compile
            module = inner
        else:
            return module


def _keep_parametrized(module: nn.Module) -> None:
    """As `torch.nn.utils.parametrize.remove_parametrizations`, which would change the class that the module shares with what it was
    copied from."""
    weights = {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr]
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, weight in weights.items():
        _keep(module, name, weight)


def _keep_hooked(module: nn.Module) -> None:
    """The same of weights that a hook sets before each pass."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod):
            with torch.no_grad():
                hook(module, ())
            name = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
            _keep(module, name, vars(module).pop(name))
            del module._forward_pre_hooks[key]


def _keep(module: nn.Module, name: str, weight: Tensor) -> None:
    module.register_parameter(name, nn.Parameter(weight.detach().clone(), requires_grad=False))
