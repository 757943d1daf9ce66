import numpy as np
from sklearn.ensemble import IsolationForest


def oracle(known, labels, asked, head, trees, subsample, seed):
    """The forest is scikit-learn's; the walk down its trees and the score are the paper's."""
    n = min(subsample, len(known["features"]))
    forest = IsolationForest(n_estimators=trees, max_samples=n, random_state=seed).fit(known["features"])
    grown = [one.tree_ for one in forest.estimators_]
    return [-(2 ** (-np.mean([depth(tree, x) for tree in grown]) / mean_depth(n))) for x in asked["features"]]


def depth(tree, x):
    node = cuts = 0
    while tree.children_left[node] >= 0:
        low = np.float32(x[tree.feature[node]]) <= tree.threshold[node]
        node = (tree.children_left if low else tree.children_right)[node]
        cuts += 1
    return cuts + mean_depth(tree.n_node_samples[node])


def mean_depth(n):
    """Of an unsuccessful search in a binary search tree of n nodes, equation 1."""
    if n <= 2:
        return float(n == 2)
    return 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
