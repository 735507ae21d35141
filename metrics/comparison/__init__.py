"""Comparisons between methods, as pure functions of arrays: numpy and scipy are all they import."""
