"""How close each position is to liquidation: marks, tiers, the engine and the pages that show it."""
