"""What a trained network does inside: measures of its gates and states, and pictures of them."""
