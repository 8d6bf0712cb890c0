"""The same results by other means, as research code and libraries get them."""
