"""What a query is worth, judged with labels that selection never saw."""
