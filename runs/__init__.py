"""A run: what is asked for, its data, its steps, and what is kept and told of it."""
