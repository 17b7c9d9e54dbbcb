"""Training objectives by name: one loss a file, found by `Registry`.

A new one is a new module here with a subclass of `CategoryObjective`, `ContinuousObjective` or `ContrastiveObjective`.
"""

from mmer_core.named import Registry
from mmer_core.objectives.base import CategoryObjective, ContinuousObjective, ContrastiveObjective

CATEGORY_OBJECTIVES: Registry[CategoryObjective] = Registry("category objective", CategoryObjective, __name__)
CONTINUOUS_OBJECTIVES: Registry[ContinuousObjective] = Registry(
    "continuous objective", ContinuousObjective, __name__
)
CONTRASTIVE_OBJECTIVES: Registry[ContrastiveObjective] = Registry(
    "contrastive objective", ContrastiveObjective, __name__
)

__all__ = [
    "CATEGORY_OBJECTIVES",
    "CONTINUOUS_OBJECTIVES",
    "CONTRASTIVE_OBJECTIVES",
    "CategoryObjective",
    "ContinuousObjective",
    "ContrastiveObjective",
]
