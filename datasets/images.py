"""Pixels: decoded and resized once, then read from memory-mapped 8-bit stacks. (in progress)"""
