"""Shared by all packages: options, specs, registries, signatures, random generators, names, errors."""
