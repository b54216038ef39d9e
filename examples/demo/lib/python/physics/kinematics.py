"""Four-vectors of particles, in GeV."""

from math import cos, cosh, sin, sinh, sqrt


class FourVector:
    """Energy and momentum."""

    def __init__(self, energy, px, py, pz):
        self.energy, self.px, self.py, self.pz = energy, px, py, pz

    @classmethod
    def from_collider(cls, pt, eta, phi, mass):
        """From transverse momentum, pseudorapidity, azimuth and mass."""
        energy = sqrt((pt * cosh(eta)) ** 2 + mass**2)
        return cls(energy, pt * cos(phi), pt * sin(phi), pt * sinh(eta))

    def __add__(self, other):
        return FourVector(
            self.energy + other.energy,
            self.px + other.px,
            self.py + other.py,
            self.pz + other.pz,
        )

    @property
    def mass(self):
        """The invariant mass."""
        squared = self.energy**2 - self.px**2 - self.py**2 - self.pz**2
        return sqrt(max(squared, 0.0))


def invariant_mass(*particles):
    """The mass of what the particles came from."""
    total = particles[0]
    for particle in particles[1:]:
        total = total + particle
    return total.mass
