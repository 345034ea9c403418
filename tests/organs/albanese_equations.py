"""Blood gases as Albanese et al. 2016 have them: the curves of Spencer et al. 1979, and the tissues' numbers."""

import numpy as np

# Tables 1 and 5, of heart, brain, muscle, splanchnic and extrasplanchnic tissue: volumes, mL; consumption and
# production, mL/min; flows for each mmHg, mL/(mmHg s), of resistances
VOLUME = np.array([284.0, 1300.0, 31200.0, 2673.0, 262.0])
MO2 = np.array([24.0, 47.502, 51.6, 108.419, 14.683])
MCO2 = np.array([20.16, 39.961, 43.344, 91.072, 12.337])
FLOW = 1.0 / np.array([19.71, 6.57, 4.48, 3.307, 3.52])


def spencer(PO2, PCO2):
    """Contents, mL/mL (Spencer et al. 1979; Albanese et al. 2016, A46 to A49 and Table 4)."""
    XO2 = PO2 * (1 + 0.008275 * PCO2) / (14.99 * (1 + 0.03198 * PCO2))
    XCO2 = PCO2 * (1 + 0.03255 * PO2) / (194.4 * (1 + 0.05591 * PO2))
    pO2, pCO2 = XO2 ** (1 / 0.3836), XCO2 ** (1 / 1.819)
    return 9.0 * pO2 / (1 + pO2) * 22.4e-3, 86.11 * pCO2 / (1 + pCO2) * 22.4e-3
