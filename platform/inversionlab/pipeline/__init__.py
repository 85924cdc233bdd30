"""The stages of an experiment as plain functions: plan, train, protect, attack, evaluate, measure. No Ray."""
