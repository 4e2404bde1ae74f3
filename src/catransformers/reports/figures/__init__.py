"""What all figures share: one style, and the page around an interactive one."""
