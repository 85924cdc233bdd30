"""Ratios, not seconds.

This file makes it a package of its own right: Opacus installs one of the same name, which would win otherwise.
"""
