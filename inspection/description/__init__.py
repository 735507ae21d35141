"""Who is in a data set, how often each finding is recorded, and how that differs by group."""
