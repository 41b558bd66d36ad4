"""From reference and predicted codes to figures: numbers in, numbers out."""
