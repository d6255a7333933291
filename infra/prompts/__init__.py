"""What is looked at in a prompt before it is rendered. Pure, but for reading the block list."""
