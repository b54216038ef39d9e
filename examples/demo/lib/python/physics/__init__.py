"""A little relativistic kinematics."""

from .constants import MUON_MASS, Z_MASS
from .kinematics import FourVector, invariant_mass

__all__ = ["FourVector", "MUON_MASS", "Z_MASS", "invariant_mass"]
