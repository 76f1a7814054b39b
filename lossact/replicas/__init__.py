"""Many networks as one: seeds are a tensor dimension, and replicas come first in every tensor."""
