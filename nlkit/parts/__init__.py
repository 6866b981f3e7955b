"""What papers share: pure functions, and the learner that every method trains."""
