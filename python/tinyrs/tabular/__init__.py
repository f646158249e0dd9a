"""Tables of any library as columns, and columns as the numbers that a network takes."""
