"""nlkit: learning with noisy labels, four papers behind one interface."""
