"""Miniature datasets in the real on-disk layouts, drawn with a learnable signal.

Both use one scene model: `scene` draws the factors, `draw` paints them, `describe` writes captions and
`emotions` derives labels; `emotic_tree` and `flickr_tree` write the files as the real datasets do.
"""

from mmer_core.datasets.synthetic.emotic_tree import CAPTIONS_FILE, write_emotic
from mmer_core.datasets.synthetic.flickr_tree import write_flickr8k
from mmer_core.datasets.synthetic.scene import GENERATOR_VERSION

__all__ = ["CAPTIONS_FILE", "GENERATOR_VERSION", "write_emotic", "write_flickr8k"]
