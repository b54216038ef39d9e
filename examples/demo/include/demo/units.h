#ifndef DEMO_UNITS_H
#define DEMO_UNITS_H

/* Energies in GeV, masses in GeV/c^2. */
#define DEMO_GEV 1.0
#define DEMO_MEV (1.0e-3 * DEMO_GEV)
#define DEMO_MUON_MASS (105.6583755 * DEMO_MEV)

#endif
