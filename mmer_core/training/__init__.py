"""The training loop, what it trains, and checkpoints that resume exactly."""
