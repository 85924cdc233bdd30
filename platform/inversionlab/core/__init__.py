"""What every room builds on: settings, YAML, views of a model, contracts, learners, seeds, images."""
