"""Random calls of each compiled operator, and slow answers of their own to compare with."""
