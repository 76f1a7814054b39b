"""The subcommands that train and measure, with what each does."""

TRAINING = {
    "fit": "train one network, or many replicas of it, from a config file",
    "validate": "measure a checkpoint on validation examples, or where there are none on those that were learned",
    "test": "measure a checkpoint on examples that it has not seen, where data are drawn",
    "predict": "write what a checkpoint answers to the examples that were learned, as predictions.csv",
}
