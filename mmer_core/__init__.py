"""mmer_core: datasets, encoders, models, attacks and reports, usable without any orchestrator.

    import mmer_core as mmer

    mmer.load("model")              a trained model, with predict, embed and attack
    mmer.runs()                     every trained model with its settings and its metric, as a pandas table
    mmer.compare(a, b)              two models on the same samples: what differs, and how sure that is
    mmer.attack(network, ...)       any torch classifier, attacked by changing a few pixels

Each is imported when it is first used; importing this package imports nothing else.

Shape notation, used in every docstring of the package:

====== =====================================================
``N``  samples of a split
``B``  samples of a batch
``C``  label categories (26 for EMOTIC)
``V``  continuous dimensions (3: valence, arousal, dominance)
``D``  width of a feature or an embedding
``T``  texts (captions); several may describe one sample
``H W`` height and width in pixels
``K``  changed pixels
``Q``  queries to a victim
====== =====================================================
"""

from typing import TYPE_CHECKING

from mmer_core.lazily import lazily

if TYPE_CHECKING:
    from mmer_core.facade.attacking import attack as attack
    from mmer_core.facade.comparing import compare as compare
    from mmer_core.facade.loading import load as load
    from mmer_core.facade.tabulating import runs as runs

__version__ = "0.1.0"
__all__ = ["__version__", "attack", "compare", "load", "runs"]

__getattr__ = lazily(
    __name__,
    {
        ".facade.attacking": ("attack",),
        ".facade.comparing": ("compare",),
        ".facade.loading": ("load",),
        ".facade.tabulating": ("runs",),
    },
)
