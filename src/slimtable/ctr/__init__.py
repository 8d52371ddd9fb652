"""Click-through-rate models over field tables, and how they are trained, tested and compressed."""
