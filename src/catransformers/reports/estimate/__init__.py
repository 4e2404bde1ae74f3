"""One design in words and pictures: its explanation and its roofline."""
