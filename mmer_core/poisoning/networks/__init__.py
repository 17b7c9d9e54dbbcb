"""What needs PyTorch to be imported at all; apart from the attacks, whose options are read without it."""
