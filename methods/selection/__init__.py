"""Selection strategies: each scores a candidate model by its validation patients."""
