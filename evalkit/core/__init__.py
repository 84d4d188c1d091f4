"""What every room uses: options, specs and registries, signatures, named random numbers, names, errors."""
