"""The methods, one file a paper: parameters, algorithm, cost and look; see `nlkit.params.registry`."""
