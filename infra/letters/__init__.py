"""Dead letters, as an operator reads them and has them tried again."""
