"""What travels in a bundle beside the networks: metadata, model card, golden photos."""
