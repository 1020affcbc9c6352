"""Pictures that a stream was not sure of, labelled by people for the next training."""
