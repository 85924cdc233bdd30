"""Models that the user already has: behind a file, an import path, or an HTTP endpoint."""
