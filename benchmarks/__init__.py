"""Speed of the package beside the usual way of writing the same thing; every figure is a row of results.csv."""
