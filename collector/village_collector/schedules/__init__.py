"""What agents play by themselves: kept, signed, and brought to each."""
