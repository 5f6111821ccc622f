"""Live voice: received, put in order, decoded and given to a loudspeaker at its own pace."""
