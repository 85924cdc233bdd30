"""The Python API: audits and attacks on models at hand. `inversionlab` itself exposes its names."""
