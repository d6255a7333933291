"""One process a GPU slot: takes an order, renders under the guard, commits the completion."""
