"""A scikit-learn pipeline that ends in a detector, and a threshold that keeps its promise on new rows."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unseen.sklearn import NoveltyDetector

X, digits = load_digits(return_X_y=True)
known = X[digits < 7]
learnt, new = known[::2], known[1::2]

pipeline = make_pipeline(StandardScaler(), PCA(20, random_state=0), NoveltyDetector("knn(k=5)", alpha=0.05))
pipeline.fit(learnt)

false_alarms = np.mean(pipeline.predict(new) == -1)  # +1 known, -1 unseen, as everywhere in scikit-learn
caught = np.mean(pipeline.predict(X[digits >= 7]) == -1)
print(f"{false_alarms:.1%} of new known rows and {caught:.1%} of the others were called unseen")
