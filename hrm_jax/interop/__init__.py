"""PyTorch checkpoints of the originals become our parameters; golden files prove the functions equal."""
