"""The base of every room: settings, YAML, views of a model, contracts, learners, seeds, images."""
