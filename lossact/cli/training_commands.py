"""The subcommands that train networks and measure checkpoints, with their descriptions."""

TRAINING = {
    "fit": "train one network, or many replicas of it, from a config file",
    "validate": "measure a checkpoint on the validation examples, or on the training examples where there are none",
    "test": "measure a checkpoint on fresh examples, where the data are generated",
    "predict": "write a checkpoint's outputs on the training examples to predictions.csv",
}
