"""What is kept on disk: model files, checkpoints, class labels; each written whole or not at all."""
