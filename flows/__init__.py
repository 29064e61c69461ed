"""The story: one file per flow, and the command line beside them."""
