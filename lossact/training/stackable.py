"""The reason for which a LightningModule trains one replica at a time."""


class NotStackableError(Exception):
    """Replicas of a LightningModule cannot train as one; the message says why in a few words, for a table."""
