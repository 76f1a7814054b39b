"""How often verdicts are wrong, by simulation: python -m lossact.stats.calibration [--short]."""
