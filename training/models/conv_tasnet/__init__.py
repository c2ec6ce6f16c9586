"""Conv-TasNet: a learned basis, masked by a stack of dilated convolutions."""
