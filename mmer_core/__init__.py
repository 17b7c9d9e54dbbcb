"""mmer_core: datasets, encoders, models, attacks and reports, usable without any orchestrator.

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

__version__ = "0.1.0"
