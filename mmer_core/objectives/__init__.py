"""Training objectives by name: one loss a file, found by `Registry`.

A new one is a new module here with a subclass of `CategoryObjective`, `ClassObjective`, `ContinuousObjective` or
`ContrastiveObjective`.
"""

from mmer_core.named import Registry
from mmer_core.objectives.base import (
    CategoryObjective,
    ClassObjective,
    ContinuousObjective,
    ContrastiveObjective,
)

CATEGORY_OBJECTIVES: Registry[CategoryObjective] = Registry("category objective", CategoryObjective, __name__)
CLASS_OBJECTIVES: Registry[ClassObjective] = Registry("class objective", ClassObjective, __name__)
CONTINUOUS_OBJECTIVES: Registry[ContinuousObjective] = Registry(
    "continuous objective", ContinuousObjective, __name__
)
CONTRASTIVE_OBJECTIVES: Registry[ContrastiveObjective] = Registry(
    "contrastive objective", ContrastiveObjective, __name__
)

__all__ = [
    "CATEGORY_OBJECTIVES",
    "CLASS_OBJECTIVES",
    "CONTINUOUS_OBJECTIVES",
    "CONTRASTIVE_OBJECTIVES",
    "CategoryObjective",
    "ClassObjective",
    "ContinuousObjective",
    "ContrastiveObjective",
]
