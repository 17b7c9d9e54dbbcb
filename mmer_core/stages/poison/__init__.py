"""The stages of the poisoning experiment: plan, craft, build the poisoned set, judge, detect, put together.

Training and evaluation are those of every model; a training takes the poisons as one more input.
"""
