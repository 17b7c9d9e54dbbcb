"""What all networks that pool have in common."""

from torch import nn


class Pooling(nn.Module):
    """Turns the output of a pre-trained ``model`` into features."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
