"""Training in this process: from a condition to a LightningModule to trials."""
