"""Other ways of solving the same equations, each written on its own, without this package's model or solver."""
