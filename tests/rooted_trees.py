"""Rooted trees, of which each is a condition on the order of a Runge-Kutta or Rosenbrock method."""


def rooted_trees(order):
    """Rooted trees with so many nodes: each the sorted tuple of its root's subtrees."""
    if order == 1:
        return {()}

    def forests(nodes, most):
        if nodes == 0:
            yield ()
        for first in range(1, min(nodes, most) + 1):
            for tree in rooted_trees(first):
                for rest in forests(nodes - first, first):
                    yield tuple(sorted((tree, *rest)))

    return set(forests(order - 1, order - 1))
