"""From parameters to a record: the loop, what it measures, and what it leaves behind."""
