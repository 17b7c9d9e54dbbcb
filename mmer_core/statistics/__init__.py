"""How sure a figure is: intervals of shares and metrics, paired comparisons, and corrections for many of them.

What is resampled is what was sampled: a *cluster* is a photo with all of its people and captions, or a group of a
manifest. Everything is numpy on arrays; scipy is imported where it is used. Arrays that make no sense together raise
`ValueError`.
"""
