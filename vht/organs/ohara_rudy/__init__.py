"""Human ventricular cell of O'Hara and Rudy, CiPA version: constants, equations, and the drugs it was made for."""

from vht.organs.ohara_rudy.cell import OHaraRudyCiPA

__all__ = ["OHaraRudyCiPA"]
