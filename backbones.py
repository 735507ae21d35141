"""Backbones: image encoders shared by methods and by the attackers that audit them. (in progress)"""
