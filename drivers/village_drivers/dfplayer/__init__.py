"""MP3 boards with numbered tracks on a card: DFPlayer Mini, YX5200 and their copies."""
