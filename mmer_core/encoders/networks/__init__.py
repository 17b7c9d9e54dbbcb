"""What needs PyTorch to be imported at all; apart from the sources of encoders, which are read without it."""
