"""Anonymisers: each changes an image so that its patient is harder to recognise."""
