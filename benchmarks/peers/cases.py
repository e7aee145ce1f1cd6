"""The random cases of src/athanor/detection/evaluation/evaluation_cases.h, made by the same
generator from the same seeds, for the official Python tools."""
import zlib

CASES = 1024
MASK = (1 << 64) - 1


class CaseRandom:
    """base/random.h: PCG-XSH-RR 64/32 with a mixed seed."""

    def __init__(self, seed):
        x = (seed + 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        self.state = x ^ (x >> 31)
        self.bits()

    def bits(self):
        old = self.state
        self.state = (old * 6364136223846793005 + 1442695040888963407) & MASK
        word = (((old >> 18) ^ old) >> 27) & 0xFFFFFFFF
        turn = old >> 59
        return ((word >> turn) | (word << ((-turn) & 31))) & 0xFFFFFFFF

    def below(self, n):
        return (self.bits() * n) >> 32

    def one_in(self, n):
        return self.below(n) == 0

    def around(self, limit, unit):
        return (self.below(2 * limit * unit + 1) - limit * unit) / unit


def write_expected(path, rows):
    """rows: [cases][values] floats; little-endian doubles, deflated."""
    import numpy as np

    table = np.asarray(rows, dtype="<f8")
    with open(path, "wb") as file:
        file.write(zlib.compress(table.tobytes(), 9))
    print(f"{path}: {table.shape[0]} cases of {table.shape[1]} values")
