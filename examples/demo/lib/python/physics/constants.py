"""Masses in GeV/c^2 (Particle Data Group)."""

MUON_MASS = 0.1056583755
Z_MASS = 91.1880
